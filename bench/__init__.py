"""Our speed beside the peers': whole processes, on the same hosts, in the same minutes, told as ratios. And our times
after faults, in seconds.

stats, report   pure: medians, ratios, tables
measure, timed  one process: wall clock, CPU, peak memory
targets, files  the hosts and the end state, in every tool's own form
tools, peers/   what each tool is asked to do, and how its answer is checked
deploy, scale   the two benchmarks; `fabfile.cli.tasks.bench` is their door

promised, outcome     pure: what is promised of each fault; what came out, kept and told
eyes, rig             how a fault is watched; the lab's hosts, their power and their steady state
trials, primaries     the faults
failover              the benchmark of them
"""
