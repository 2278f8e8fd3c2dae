// Batches whose keys move to other buckets meanwhile.
#include <gtest/gtest.h>

#include "tests/engine/schedules/batch_scenes.h"

namespace tern::concurrency {
namespace {

// Two splits, each of which takes a key along: of 0 and 3, and of 1.
template <Mutant M>
struct Splitting : Scene<M> {
  using Scene<M>::b;
  explicit Splitting(int threads) : Scene<M>(threads, Chains::kShort, StoreKind::kSplitting) {}

  void grow(int t) {
    b.rig.grow(t);
    b.rig.grow(t);
  }
  Threads beside_a_view() {
    return {[&] { b.batch(0, {{kSet, 0, 'a'}, {kSet, 1, 'a'}}); }, [&] { grow(1); }, [&] { b.view(2, {0, 1}); }};
  }
  Threads beside_gets() {
    return {[&] { b.batch(0, {{kSet, 0, 'a'}, {kSet, 1, 'a'}}); }, [&] { grow(1); },
            [&] {
              b.get(2, 1);
              b.get(2, 0);
              b.get(2, 1);
            }};
  }
  Threads beside_a_writer_and_a_view() {
    return {[&] { b.batch(0, {{kSet, 0, 'a'}, {kIsAbsent, 3}, {kSet, 3, 'a'}}); }, [&] { b.set(1, 0, 'c'); },
            [&] { b.view(2, {0, 3}); }, [&] { b.rig.grow(3); }};
  }
  Threads beside_a_remover() {
    return {[&] { b.batch(0, {{kSet, 0, 'a'}, {kSet, 3, 'a'}}); },
            [&] {
              b.del(1, 0);
              b.set(1, 0, 'd');
              b.view(1, {0, 3});
            },
            [&] { b.rig.grow(2); }};
  }
  Threads two_batches() {
    return {[&] { b.batch(0, {{kSet, 0, 'a'}, {kIs, 1, '0'}, {kSet, 1, 'a'}}); }, [&] { b.batch(1, {{kDel, 0}, {kSet, 3, 'b'}, {kSet, 1, 'b'}}); },
            [&] { grow(2); }};
  }
};
constexpr Bounds kThree{.preemptions = 2, .schedules = 15'000, .random = 10'000};

#define TERN_HOLDS(test, scene, threads)                            \
  TEST(BatchesAndGrowth, test) {                                    \
    Splitting<Mutant::kNone> s(threads);                            \
    expect_holds("batches and growth, " #scene, s.b, s.scene(), kThree); \
  }

TERN_HOLDS(BesideAView, beside_a_view, 3)
TERN_HOLDS(BesideGets, beside_gets, 3)
TERN_HOLDS(BesideAWriterAndAView, beside_a_writer_and_a_view, 4)
TERN_HOLDS(BesideARemover, beside_a_remover, 3)
TERN_HOLDS(TwoBatches, two_batches, 3)

TEST(BatchGrowthMutants, BucketUnready) {
  Splitting<Mutant::kBatchBucketUnready> s(3);
  expect_found("batches and growth, planted BucketUnready", s.b, s.beside_a_view(), {.preemptions = 2});
}

}  // namespace
}  // namespace tern::concurrency
