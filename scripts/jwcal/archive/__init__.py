"""The mission's public archive (MAST): which raw files a program has, and how they come here whole.

It knows the archive's HTTP interface and files; nothing of what is in them.

`mast`        lists the files of a program (https://mast.stsci.edu/api/v0/)
`download`    brings files: resumed where one was cut off, checked by size and checksum
"""
