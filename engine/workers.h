// Workers: pieces of one call's work on several threads at once, by oneTBB. Where the library was built without it the
// calling thread does all of it.
#ifndef TERN_ENGINE_WORKERS_H_
#define TERN_ENGINE_WORKERS_H_

#include <tern/function_ref.h>

#include "engine/key_bytes.h"

namespace tern::detail {

inline constexpr unsigned kWorkersMax = 64;

// Whether more than one thread can be had.
bool can_share_work() noexcept;

// fn(piece, worker) for each piece < `pieces`, on the calling thread and up to `threads` - 1 others, threads <= kWorkersMax.
// worker < threads; no two of one number at once. Returns when all have returned. Piece by piece, in no order; fn may not
// call this.
void share_work(unsigned threads, unsigned pieces, FunctionRef<void(unsigned piece, unsigned worker)> fn) noexcept;

// KeyList::sort by up to so many threads.
void sort_keys(unsigned threads, KeyList& keys, bool reverse) noexcept;

}  // namespace tern::detail

#endif  // TERN_ENGINE_WORKERS_H_
