"""What a network costs on an embedded target: measured where we can, modelled where we cannot."""
