# Check which specialist is most reliable
pilotctl resolve 1:0001.0000.0002  # polo: 47
pilotctl resolve 1:0001.0000.0003  # polo: 31
pilotctl resolve 1:0001.0000.0004  # polo: 52
