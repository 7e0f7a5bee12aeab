"""Stars behind a mask: the library of PSF references, registration under the mask, subtraction, and how faint a planet could be seen.

Called by the steps of coron3."""
