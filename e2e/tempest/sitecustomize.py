# Every Python program that Tempest starts begins here. Each takes the next number, and with it the next node of the cluster: the
# workers, which are started one after the other, have different ones.
import itertools
import os

for turn in itertools.count():
    try:
        os.close(os.open(os.path.join(os.environ["TEMPEST_CONFIG_DIR"], "turn-%d" % turn), os.O_CREAT | os.O_EXCL))
        break
    except FileExistsError:
        pass
os.environ["TEMPEST_CONFIG"] = "tempest-%d.conf" % (turn % int(os.environ["KILONOVA_TEMPEST_NODES"]))
