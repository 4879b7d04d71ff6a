"""What all packages share and nobody else needs: errors, checks, devices, trees and files. Depends on none of them."""
