"""What the open 3D kernel costs beside the libraries that it stands on."""
