# Manager trusts each specialist
pilotctl trust 1:0001.0000.0002  # backend
pilotctl trust 1:0001.0000.0003  # ml
pilotctl trust 1:0001.0000.0004  # qa
