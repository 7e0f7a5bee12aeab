"""Stars behind a mask of holes: its geometry, bad pixels, the fit of the fringes, what is averaged, and the tables of OIFITS.

Called by the steps of ami3."""
