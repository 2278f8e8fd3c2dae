// A process of its own for each store: its memory is its own, a fill always meets untouched memory,
// and what one store leaves behind in a heap slows down no other. The processes live side by side
// and take turns slice by slice.
#ifndef TERN_BENCH_PROCESS_H_
#define TERN_BENCH_PROCESS_H_

#include <sys/types.h>

#include <cstdint>
#include <span>
#include <string>

#include "bench/slice.h"

namespace tern::bench {

// What every process of a run inherits; made before the first is forked.
struct World {
  std::span<const Workload> workloads;
  const KeyMaker* maker = nullptr;
  const ZipfDraws* draws = nullptr;
};

class StoreProcess {
 public:
  // Forks; the calling process must have one thread only.
  StoreProcess(const StoreKind& kind, const StoreConfig& config, const World& world);
  ~StoreProcess();
  StoreProcess(const StoreProcess&) = delete;
  StoreProcess& operator=(const StoreProcess&) = delete;

  // Runs a slice of world.workloads[workload] and waits for it. The answer is valid until the next
  // call; `failed` in it when the store gave wrong answers or its process ended.
  const SliceResult& run(std::size_t workload, const SliceSpec& spec);
  const Memory& memory();

 private:
  struct Shared;
  bool order(char what);
  [[noreturn]] void serve(const StoreKind& kind, const StoreConfig& config, const World& world,
                          int socket);

  Shared* shared_ = nullptr;
  pid_t child_ = -1;
  int socket_ = -1;
};

}  // namespace tern::bench

#endif  // TERN_BENCH_PROCESS_H_
