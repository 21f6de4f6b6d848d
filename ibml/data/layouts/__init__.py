"""Parts shared by the layouts of several data sets: lists, clips, JSON lines and HDF5 files."""
