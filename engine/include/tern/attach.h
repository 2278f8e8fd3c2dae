// A store kept in shared memory, which survives its process: a warm restart.
//
//   auto store = tern::Store::attach("/dev/shm/game.tern", {.memory_bytes = 1 << 30});
//
// The first call makes the file; a later one, by the next process, finds the entries again, whether the one before closed its store
// or was killed in the middle of its writes. A write is there if its call had returned; of one that hadn't, all or nothing is there, of
// a batch too. Values, versions, deadlines, idle times, tags, metadata, leases, locks, namespaces, access counts and whether an entry
// may be evicted are as they were; what has expired or was cleared is gone; versions and fencing tokens go on above all that were given
// out. Views, watches (a token is a gap), held values and what eviction remembers of keys that are gone end with the process.
//
// What this is not: a copy on a disk. The file is for one start of the machine; save() is for what must outlive that.
//
// PATH should lie on a tmpfs (/dev/shm, or one mounted for it: a container's /dev/shm has 64 MiB by default) with room for twice the
// budget, as attach brings the entries over into a new file; one mounted with huge=always spares gets half of their time. Any file system that
// can take room for a file beforehand (fallocate) and punch holes will do, but one on a disk writes the pages out for nothing.
// Beside PATH lies PATH.lock and, while a call to attach runs or after a crash in one, PATH.new. The file holds what the store
// holds, readable for its owner alone (0600); nobody else may write to it or cut it off. Remove PATH when the entries aren't wanted
// any more: the store doesn't.
#ifndef TERN_ATTACH_H_
#define TERN_ATTACH_H_

#include <tern/snapshot.h>

#include <cstdint>

namespace tern {

struct AttachReport {
  bool found = false;            // there was a store before this one
  bool was_closed = false;       // ... and it came to its end in order
  std::uint64_t entries = 0;     // that are in the store now
  std::uint64_t expired = 0;     // whose deadline passed meanwhile
  std::uint64_t left_out = 0;    // for want of room, where eviction is on; without it that is out_of_range
};

struct AttachOptions {
  // That bring the entries over; 0: one for each processor, at most 8, and one alone with Maintenance::kTick. At most 16.
  unsigned threads = 0;
  AttachReport* report = nullptr;
  SnapshotFault* fault = nullptr;  // filled in when the call fails
};

}  // namespace tern

#endif  // TERN_ATTACH_H_
