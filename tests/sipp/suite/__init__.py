"""The SIPp suite: scenarios in the folders beside this one, against any system that signs or verifies."""
