// Cache replacement policies in simulation: what a hit ratio is compared with. One thread, no
// values: a policy is told a key and answers whether it was there. Keys are dense numbers
// (DenseTrace), so every table is an array.
#ifndef TERN_BENCH_POLICIES_POLICY_H_
#define TERN_BENCH_POLICIES_POLICY_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bench/traces.h"

namespace tern::bench {

using Key = std::uint32_t;

// A trace with its keys renumbered in the order of their first appearance. An object has the size
// of its first request, at least 1.
struct DenseTrace {
  std::vector<Key> keys;             // of each request
  std::vector<std::uint32_t> sizes;  // of each object
  std::uint32_t objects() const { return static_cast<std::uint32_t>(sizes.size()); }
  std::uint64_t bytes() const;  // of all objects
};

// `unit_sizes`: every object has size 1, so capacities count objects.
DenseTrace dense(const Trace& trace, bool unit_sizes);

// Capacities and sizes are in one unit, bytes or objects. What is larger than the cache is never
// kept.
class Policy {
 public:
  virtual ~Policy() = default;
  // Whether the key is there; if not, it enters as the policy likes.
  virtual bool access(Key key) = 0;
  virtual std::uint64_t used() const = 0;
};

// lru, sieve, s3-fifo, arc, w-tinylfu, optimum, and tern (engine/eviction_policy.h with its queues
// simulated). Null: no such name. The trace must outlive the policy; `optimum` has to be given
// exactly the trace's requests.
std::unique_ptr<Policy> make_policy(std::string_view name, const DenseTrace& trace,
                                    std::uint64_t capacity);
const std::vector<std::string>& policy_names();

// Hits by requests over the whole trace; 0 for an empty one.
double hit_ratio(std::string_view name, const DenseTrace& trace, std::uint64_t capacity);

// A policy each; make_policy is the door.
std::unique_ptr<Policy> make_lru(const DenseTrace&, std::uint64_t capacity);
std::unique_ptr<Policy> make_sieve(const DenseTrace&, std::uint64_t capacity);
std::unique_ptr<Policy> make_s3_fifo(const DenseTrace&, std::uint64_t capacity);
std::unique_ptr<Policy> make_arc(const DenseTrace&, std::uint64_t capacity);
std::unique_ptr<Policy> make_w_tinylfu(const DenseTrace&, std::uint64_t capacity);
std::unique_ptr<Policy> make_optimum(const DenseTrace&, std::uint64_t capacity);
std::unique_ptr<Policy> make_tern(const DenseTrace&, std::uint64_t capacity);

}  // namespace tern::bench

#endif  // TERN_BENCH_POLICIES_POLICY_H_
