"""The filesystem's meaning, without FUSE: what a name stands for, who it is, what it answers.

`filesystem` is the one implementation of every operation; engines translate it to a kernel protocol. `nodes` says
who a name is (inode numbers), `runs` what lies below a date, `handles` what is open, `invalidation` what a kernel
must forget after a refresh.
"""
