"""Four threads that write, read and remove files, and take turns at a lock."""

import os
import threading

lock = threading.Lock()
total = 0


def work(number):
    global total
    for turn in range(20):
        name = f"file-{number}-{turn}"
        with open(name, "w", encoding="ascii") as file:
            file.write("x" * turn)
        with lock:
            total += os.stat(name).st_size
        os.rename(name, name + "-done")
        os.unlink(name + "-done")


threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert total == 4 * sum(range(20))
