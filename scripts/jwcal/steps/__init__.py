"""The steps, one module each: what users know by the names of the JWST pipeline's documentation.

They open no files, know no other step, and name no instrument and no EXP_TYPE: tables of config/ give arguments instead.
"""
