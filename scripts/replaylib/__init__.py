"""What scripts/replay is made of.

cli        the command line and the report
case       case.json: reading and validating
runner     one case against the real programs
programs   starting, watching and ending dr-dataplane, drd and drcli
southbound a reading client of the data plane's socket, and its counters
pcap       capture files
compare    sent frames against expected ones, masks
decode     the side-by-side picture of two frames that differ
regen      rewriting expectations on purpose
"""
