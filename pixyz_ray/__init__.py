"""Engine, client and command line of Pixyz on Ray."""
