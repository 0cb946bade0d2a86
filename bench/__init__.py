"""Benchmarks: our speed beside the peers', as ratios, and our recovery times after faults, in seconds.

The speed is of whole processes, on the same hosts, in the same minutes.

stats, report     pure: medians, ratios, tables, sections of the document
measure, timed    one process: wall clock, CPU, peak memory
targets, files    the hosts and the end state, in every tool's own form
tools, peers/     the command line of each tool, and the check of its output
endpoints, forward  one node at many addresses, for scale
wipe, machine     the hosts as before their first deploy; the size of this machine
deploy, scale     the two benchmarks of speed; `fabfile.cli.tasks.bench` runs them
benchmarks_file   docs/BENCHMARKS.md on disk

expectations, failover_results  pure: what is promised for each fault; what was measured, stored and shown
cluster_watcher, lab_cluster    how a fault is watched; the lab's hosts, their power and their steady state
scenarios, primary_scenarios    the faults
failover                        the benchmark of them
"""
