// The one door to oneTBB. Its threads are the process's; each that comes here registers with the store as any caller's
// thread does. Each call has an arena of its own, so that a caller who uses oneTBB himself, or waits inside one of its tasks,
// never finds another task of his on his stack. No more threads than processors: oneTBB prints a warning for them. Compiled without exceptions: oneTBB's own private allocations, of some
// hundred bytes, end the process where there is no memory.
#include "engine/workers.h"

#include <algorithm>

#if TERN_HAS_TBB
#include <tbb/info.h>
#include <tbb/parallel_for.h>
#include <tbb/parallel_sort.h>
#include <tbb/task_arena.h>
#endif

namespace tern::detail {

#if TERN_HAS_TBB

namespace {

unsigned that_run(unsigned threads) noexcept { return std::min(threads, static_cast<unsigned>(tbb::info::default_concurrency())); }

}  // namespace

bool can_share_work() noexcept { return true; }

void share_work(unsigned threads, unsigned pieces, FunctionRef<void(unsigned, unsigned)> fn) noexcept {
  threads = that_run(threads);
  if (threads <= 1 || pieces <= 1) {
    for (unsigned piece = 0; piece != pieces; ++piece) fn(piece, 0);
    return;
  }
  tbb::task_arena arena(static_cast<int>(threads));
  const auto one = [&fn](unsigned piece) { fn(piece, static_cast<unsigned>(tbb::this_task_arena::current_thread_index())); };
  arena.execute([&] { tbb::parallel_for(0U, pieces, one, tbb::simple_partitioner()); });
}

void sort_keys(unsigned threads, KeyList& keys, bool reverse) noexcept {
  threads = that_run(threads);
  if (threads <= 1) return keys.sort(reverse);
  const std::size_t at = KeySort::take_heads(keys.begin(), keys.end());
  tbb::task_arena arena(static_cast<int>(threads));
  arena.execute([&] { tbb::parallel_sort(keys.begin(), keys.end(), KeySort::is_before); });
  // Pieces that end where the heads change; all found before any is changed.
  const unsigned pieces = threads * 8;
  std::size_t edge[kWorkersMax * 8 + 1] = {};
  for (unsigned n = 1; n <= pieces; ++n) {
    std::size_t i = std::max(edge[n - 1], keys.count() * n / pieces);
    while (i != 0 && i != keys.count() && keys[i].head == keys[i - 1].head) ++i;
    edge[n] = i;
  }
  share_work(threads, pieces, [&](unsigned n, unsigned) { KeySort::sort_runs(keys.begin() + edge[n], keys.begin() + edge[n + 1], at); });
  if (reverse) std::reverse(keys.begin(), keys.end());
}

#else

bool can_share_work() noexcept { return false; }

void share_work(unsigned, unsigned pieces, FunctionRef<void(unsigned, unsigned)> fn) noexcept {
  for (unsigned piece = 0; piece != pieces; ++piece) fn(piece, 0);
}

void sort_keys(unsigned, KeyList& keys, bool reverse) noexcept { keys.sort(reverse); }

#endif

}  // namespace tern::detail
