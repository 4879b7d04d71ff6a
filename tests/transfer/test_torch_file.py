"""Files of PyTorch: what PyTorch itself has written is read to the bit, and whatever else they hold is refused."""

import base64
import io
import os
import pickle
import zipfile
import zlib

import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax import UserError, transfer

# By PyTorch 2.14, in its two formats: views of one storage, a transposed one and one with strides; an empty tensor, a
# number, three further dtypes, and an entry that is no tensor.
ZIP = (
  "c-p0wO>Y}T7{|viv0XRhjndEnX-g?M&^lhfCQTYA+pxTBq0UA~D_^XQy|!0uynfc>1duF6LNW9k00+d0FVI8bf+EC$Yb#W7;DFQv"
  ";>3*$7iM<t?an%`)nx3kz1IBx&;Oa7=dlZ7Ac#;Tf(FJEnn8+Lu4{YhVnxA9y!o*%@Dr%Wj01lMP)r^pz^+kIb?}wThOVn+tQn0~"
  "^p06kO|`PAm2njO3laokvX89YhhP~SL_J<=V@+>GOQyQh*7QmVtBsanmiCfS7>mW^Fj?FpE0vlGAsdMbx}o50`^zYVEx`mt<N$du"
  "H`{PV9LEsd5|J1XgIzc)21Q>N#_!gtf#)zxNH8h;sS6BKbrPi>s)y^5y2VXXE+_`NFeCaX{=Chd!|;Lx=Vh{6sHvD3X1(N#TZHqA"
  "{w`dgAG$DSlP_U-S%OzAvaaY=n77GZHoTP%mvs`lXeGqKB_iv`aG4tNAHu7m?+~uolCNR7D#7d4!Unv-=-oCNHAl<d?IbJ^EgyzA"
  "iPpk`t??FyYZ6?yY*lro265JwVd##`q9v1pgl&oISxQn%DO)a$AtOQ7l4}?Z6>|OkvDh>$5f))srYxe{bAxOaxi2d=zl!0e1Zx(*"
  "uT@mY4>=%Y^Oao{t7a6|8ONJOdq-Ct&l^_U4Dfd9w`g2qcay%nZO0Tayd%N8Us@OMeF5)FAhtVjTRua`5(%QvgAX5c;6s^~1l;LB"
  "!8($As@Wn39JWMXtJT`E&cE6;%5{*$Ks#O#!;xR$;@$J)NYYstT4l57s#9h0s$uRbxYQFD_{*MRJ7#b+)ct?{_?#w7=kQQ-DEA~("
  "uck_huGJd5Y6A;=YIL;0kxf$r`F;4C7L@;~2BuNoF|hL~Rt?%51b*ctar;BpFxFM-;qd0;3n3CE^i&TMXpQM=iwS|haS8*r>Or2o"
  "tdl312V{On<`J2Hl8H7*FD3I5nTZYR^pj3?EkS$M2&d;*r<}k~4LCi@qa&&r-YPz(r4t;Xxz1`P1%CB3+g}X#l&Od2qrVIqG%~`&"
  "D(fL7@JlE5;IktCbmeE6J%8xf$UGZ4E%0ln%Dz~9hWnQ}?*4uAH61_ZX%@e3fB*03{hLH9j;_-wawknA6{V3Md|Ufybp6hw<dX(s"
  "rPNYQjdYOD6#8pl(kcQUe?}u*GP{(?=2FYq<!qWfl39-9avAdFaypw>N~AKmTspCwpf2zIZfwVhkC^4sN6k7u-Q9L-z`6H-jF)yd"
  "&{>A82GFqn>=ki0!8u0cfm>vt^LlmMjcl6Hk%DNjfqHRwcbQ=DM?vK2eO}hxMOgM=%)@eC)?NK9`<s_ddRce<vaB5Pu&F+Ke1*Hm"
  "Lob{5#&uU5%dUq#Y{tvFYi5#RzjCod&Wige&ol5$1dS-Nf*1;2>z8EUx<ih8-v6_=3H=c1x9E`7t?!++ukC*eV<DRvx7OQh{|6~g"
  "vUC"
)
LEGACY = (
  "c-noF$#T;`5QeqcCL)2b6V|ZXEXJ#BvpESNEXt~I(1lVd_9POeNN#DI6jZq?mzcmCKyl#6D{#xBaODxG;y{n&xZ;#xN<Gqy+h70F"
  "J-sD-lAS+aXMT^r{k}Ms-4f=0i8yzFOY5T?$F+QqdJWGpHi#eCo(nuW=p*=xV^iu7gSbuGbV1nBW!$9iTEqzK_ap$Z15#Q~;AUWX"
  "K81uT=pwFcmqJpNbcr!McMVdi)Nb#^Wd7@3lQ_UPFswrw6r%?6g5M-QX-?Y>Dua;GKuqgA`fh^Mpq}5bvPPTQP9PgTS!vr&)1br+"
  "Jm1(T$dE{<^%N6=p5_{XWb_w##_>$L9Bs;w(vP4|t(32o%jIG<Us042911lzT5T9ohvzBCODd;|s?>$Us-*H=82)H6IU^K~XmC^)"
  "m?jFN7RI!aRxI<F6|s&pmZXYZIHB?kc`{<1qHtP+Ghv2WCZ_J}|7c@9+PNiU398VA^X#Jw7b4n43YRpv9MUY)S%vY4*2}?En1sC2"
  "Ps5e{L6m$+sT38sia`Vna*atAw&A+UZ^Ml!z)cFbG>FRKLS}$Iiv{kJZx6^<D!E)W2X~OnBl#|pGnt5Zk3v?1`=R7j$6SNlpk&W;"
  "`q2DAXrWMoLQih7C%44pmLs@Ap`t-Ggu9+gpca>1C10!{4jv$hL()S=;#gWAVUn@#k0aU>3Uv)8LfWR?Bry4p>xhLk*9j%Q3{wNA"
  "nfBT%4(Xrg>3$W3TD6uh7ht-Vq-RV89%Y72&m#pdD7@6*)lRrjKftU8bL|ey>qE#fFr?WusR;`mSk!TcgQX5=VLR-#^s>qaL9i0`"
  "9%*?E3tp=t>&Q2(BV*+7afKA(3L(bbSSc>iiMVT*Bw2Q=*!c39jUV;Bb*lFkdT*W^=Jt=RI!+V#plzXjL)%6BiN;NG+$h>OT5gg%"
  "K-#TyyMF=Vh(;*"
)

W = np.arange(12, dtype=np.float32).reshape(3, 4)
EXPECTED = {
  "model.w": W,
  "model.wt": W.T,
  "model.part": W[1:, ::2],
  "model.half": np.array([1.5, -2], jnp.bfloat16),
  "model.n": np.array(7),
  "model.flag": np.array([True, False]),
  "model.none": np.zeros((0, 2), np.float32),
  "model.wide": np.array([0.1]),
}
FILES = {"zip": zlib.decompress(base64.b85decode(ZIP)), "legacy": zlib.decompress(base64.b85decode(LEGACY))}


def read(tmp_path, content):
  path = tmp_path / "weights.pth"
  path.write_bytes(content)
  return transfer.read_torch(path)


def assert_expected(found):
  assert list(found) == list(EXPECTED)
  for name, value in EXPECTED.items():
    assert found[name].dtype == value.dtype and found[name].shape == value.shape
    assert found[name].tobytes() == value.tobytes()


@pytest.mark.parametrize("kind", FILES)
def test_what_pytorch_writes(tmp_path, kind):
  assert_expected(read(tmp_path, FILES[kind]))


@pytest.mark.parametrize("kind", FILES)
def test_a_truncated_file_is_one_line(tmp_path, kind):
  for end in range(0, len(FILES[kind]), 37):
    with pytest.raises(UserError) as told:
      read(tmp_path, FILES[kind][:end])
    assert "\n" not in str(told.value) and "weights.pth" in str(told.value)


@pytest.mark.parametrize("kind", FILES)
def test_a_flipped_bit_is_one_line_or_harmless(tmp_path, kind):
  """A zip file has checksums: where a flip is not noticed, it changes nothing. The older format has none."""
  rng = np.random.default_rng(0)
  for place in rng.choice(len(FILES[kind]), 100, replace=False):
    damaged = bytearray(FILES[kind])
    damaged[place] ^= 1 << int(rng.integers(8))
    try:
      found = read(tmp_path, bytes(damaged))
    except UserError as error:
      assert "\n" not in str(error)
    else:
      if kind == "zip":
        assert_expected(found)


def zipped(tree):
  """A file of the newer format with this pickle in it."""
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, "w") as archive:
    archive.writestr("archive/data.pkl", tree if isinstance(tree, bytes) else pickle.dumps(tree, protocol=2))
  return buffer.getvalue()


class Runs:
  def __init__(self, marker):
    self.marker = marker

  def __reduce__(self):
    return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("wrap", [zipped, lambda tree: pickle.dumps(tree, protocol=2)], ids=FILES)
def test_code_is_refused_and_not_run(tmp_path, wrap):
  with pytest.raises(UserError, match="names posix.mkdir, which would run code: save the state_dict"):
    read(tmp_path, wrap({"w": Runs(tmp_path / "marker")}))
  assert not (tmp_path / "marker").exists()


def tensor(offset=b"K\x00", size=b"K\x02", stride=b"K\x01", count=b"K\x02", kind=b"FloatStorage"):
  """The pickle of a state_dict with one tensor, its numbers as opcodes."""
  storage = b"(X\x07\x00\x00\x00storagectorch\n" + kind + b"\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + count + b"tQ"
  view = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + offset + size + b"\x85" + stride + b"\x85\x89}tR"
  return b"\x80\x02}X\x01\x00\x00\x00w" + view + b"s."


@pytest.mark.parametrize(
  ("changed", "message"),
  [
    ({"size": b"K\x03"}, "is no part of its storage"),
    ({"offset": b"K\x01"}, "is no part of its storage"),
    ({"stride": b"K\x02"}, "is no part of its storage"),
    ({"size": b"J\xff\xff\xff\x7f", "stride": b"K\x00"}, "is no part of its storage"),
    ({"offset": b"J\xff\xff\xff\xff"}, "expected offset, sizes and strides"),
    ({"size": b"G?\xf0" + bytes(6)}, "expected offset, sizes and strides"),
    ({"count": b"K\x04"}, "has 8 bytes, expected 4 of float32"),
    ({"kind": b"QuantStorage"}, "names torch.QuantStorage"),
  ],
)
def test_places_and_sizes_are_checked(tmp_path, changed, message):
  def file(main):
    buffer = io.BytesIO(zipped(main))
    with zipfile.ZipFile(buffer, "a") as archive:
      archive.writestr("archive/data/0", np.array([1, 2], np.float32).tobytes())
    return buffer.getvalue()

  assert read(tmp_path, file(tensor()))["w"].tolist() == [1, 2]
  with pytest.raises(UserError, match=message):
    read(tmp_path, file(tensor(**changed)))


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"", "is damaged"),
    (zipped({"epoch": 3}), "holds no tensors, expected a state_dict"),
    (zipped(b"\x80\x02}r\xff\xff\xff\x7f."), "numbers a value 2147483647 where there are 2"),
    (pickle.dumps({"w": 1}, protocol=2) * 3, "does not begin as they do"),
  ],
)
def test_other_files(tmp_path, content, message):
  with pytest.raises(UserError, match=message):
    read(tmp_path, content)


def test_no_file(tmp_path):
  with pytest.raises(UserError, match="none.pth: No such file"):
    transfer.read_torch(tmp_path / "none.pth")
