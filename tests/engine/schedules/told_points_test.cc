// What is told of invalidation points, beside writers, batches, sweepers and each other: one event, nothing for the keys; and
// a listener that forgets the scope when it hears of the point, and looks at no stamp, has what the store has.
#include <gtest/gtest.h>

#include <string>

#include "engine/subscription.h"
#include "tests/engine/schedules/batch_rig.h"

namespace tern::concurrency {
namespace {

template <Mutant M>
struct ToldPoints {
  using Sync = typename Rig<M>::Sync;
  using Sub = tern::detail::Subscription<Sync>;
  using PointScope = tern::detail::PointScope;

  explicit ToldPoints(int threads, StoreKind kind = StoreKind::kPlain) : b(threads, Chains::kShort, kind), tagged(kind == StoreKind::kTagged) {
    (void)sub->enter(0, 1, positions);
    sub->begin();
    b.rig.audit_always = true;
    b.rig.freeze();
    std::memcpy(saved, storage, sizeof storage);
    saved_position = positions[0];
  }

  // Stamped before the point, told after it; set after the point, told before it.
  Threads beside_a_writer() {
    points = 1;
    return {[&] {
              b.clear(0);
              b.sweep(0);
            },
            [&] {
              b.set(1, 0, 'a');
              b.set(1, 3, 'b');
            }};
  }
  Threads beside_two_writers() {
    points = 1;
    return {[&] { b.clear(0); },
            [&] { b.set(1, 0, 'a'); },
            [&] {
              b.set(2, 0, 'b');
              b.set(2, 3, 'c');
            }};
  }
  Threads beside_a_sweeper() {
    points = 1;
    return {[&] { b.clear(0); }, [&] { b.sweep(1); }, [&] { b.set(2, 3, 'a'); }};
  }
  Threads beside_a_batch() {
    points = 1;
    return {[&] {
              b.clear(0);
              b.sweep(0);
            },
            [&] { b.batch(1, {{What::kSet, 0, 'a'}, {What::kDel, 1}, {What::kSet, 3, 'a'}}); }};
  }
  Threads of_one_prefix() {
    points = 1;
    return {[&] {
              b.clear_one(0, 0);
              b.sweep(0);
            },
            [&] {
              b.set(1, 0, 'a');
              b.set(1, 1, 'b');
            }};
  }
  Threads of_a_tag() {
    points = 1;
    return {[&] {
              b.clear_digits(0);
              b.sweep(0);
            },
            [&] {
              b.set_letter(1, 0, 'a');
              b.set(1, 1, 'b');
            }};
  }
  Threads two_points() {
    points = 2;
    return {[&] { b.clear(0); },
            [&] {
              b.clear_one(1, 0);
              b.sweep(1);
            },
            [&] { b.set(2, 0, 'a'); }};
  }

  Body body(const Threads& threads) {
    return {[this] {
              b.restore();
              std::memcpy(static_cast<void*>(storage), saved, sizeof storage);
              positions[0] = saved_position;
            },
            threads, [this] { return check(); }};
  }

  std::string check() {
    if (frozen_threads() != 0) return b.check_stopped();
    b.sweep(b.rig.own_index());
    const std::string complaint = listen();
    return complaint.empty() ? b.check() : complaint;
  }

  std::string listen() {
    char has[4] = {'0', '0', '0', 0};
    bool has_tag[4] = {tagged, tagged, false, false};
    unsigned told_points = 0;
    tern::detail::Guard<Sync> guard(b.rig.core().space, b.rig.own());
    auto& space = b.rig.core().space;
    typename Sub::Next next;
    while (sub->next(next)) {
      if (next.what == tern::detail::EventSeen::kGap) return "a gap in a ring that has room for everything";
      auto& r = *space.record(next.record);
      const auto k = space.key_of(r, next.stamp);
      const std::string_view key(k.data, k.size);
      const auto v = space.value_of(r, next.stamp, k.size);
      if (next.stamp.tomb() && r.link_word().reason() == tern::detail::TombReason::kInvalidated) {
        ++told_points;
        tern::detail::PointEventScope scope;
        std::memcpy(&scope, v.data, sizeof scope);
        for (unsigned i = 0; i != 4; ++i) {
          const auto kind = static_cast<PointScope::Kind>(scope.kind);
          const bool covered = kind == PointScope::Kind::kStore || (kind == PointScope::Kind::kTag ? has_tag[i] : b.keys[i].view().starts_with(key));
          if (covered) has[i] = 0;
        }
        continue;
      }
      unsigned i = 0;
      while (i != 4 && b.keys[i].view() != key) ++i;
      if (i == 4) return "an event of no key";
      if (next.stamp.tomb() && i != 1) return "a key's removal is told, which the point stands for";
      has[i] = next.stamp.tomb() ? '\0' : v.data[0];
      has_tag[i] = next.stamp.has_ext() && tern::detail::has_tag(space.tags_of(r, next.stamp), "digit");
    }
    if (told_points != points) return std::to_string(told_points) + " points are told of " + std::to_string(points);
    for (unsigned i = 0; i != 4; ++i) {
      const auto head = b.rig.core().head(b.keys[i].hash, b.keys[i].view());
      if ((head.present ? head.value[0] : '\0') != has[i]) return "what was told isn't what the store has: key " + std::to_string(i);
    }
    return {};
  }

  BatchRig<M> b;
  bool tagged;
  unsigned points = 0;
  std::uint64_t positions[1] = {};
  alignas(Sub) unsigned char storage[sizeof(Sub)] = {};
  unsigned char saved[sizeof(Sub)] = {};
  std::uint64_t saved_position = 0;
  Sub* sub = new (storage) Sub(b.rig.core());
};

constexpr Bounds kBounds{.preemptions = 2, .schedules = 2'500, .random = 300};

#define TERN_TOLD_HOLD(name, scene, ...)                             \
  TEST(ToldPoints, name) {                                           \
    ToldPoints<Mutant::kNone> c(__VA_ARGS__);                        \
    expect_body_holds("told points, " #scene, c.body(c.scene()), kBounds); \
  }
TERN_TOLD_HOLD(BesideAWriter, beside_a_writer, 2)
TERN_TOLD_HOLD(BesideTwoWriters, beside_two_writers, 3)
TERN_TOLD_HOLD(BesideASweeper, beside_a_sweeper, 3)
TERN_TOLD_HOLD(BesideABatch, beside_a_batch, 2)
TERN_TOLD_HOLD(OfOnePrefix, of_one_prefix, 2)
TERN_TOLD_HOLD(OfATag, of_a_tag, 2, StoreKind::kTagged)
TERN_TOLD_HOLD(TwoPoints, two_points, 3)

TEST(ToldPoints, NobodyWaitsForAStoppedThread) {
  ToldPoints<Mutant::kNone> c(3);
  expect_body_holds("told points, stopped", c.body(c.beside_a_sweeper()),
                    {.preemptions = 1, .schedules = 2'000, .random = 0, .freeze = Freeze::kAllButOne});
}

#define TERN_TOLD_FAIL(name, mutant, scene, threads)                                                               \
  TEST(ToldPointMutants, name) {                                                                                   \
    ToldPoints<mutant> c(threads);                                                                                 \
    expect_body_fails("told points, planted " #mutant, c.body(c.scene()), {.preemptions = 3, .schedules = 30'000}); \
  }
TERN_TOLD_FAIL(IsOvertaken, Mutant::kPointEventOvertaken, beside_two_writers, 3)
TERN_TOLD_FAIL(IsBehind, Mutant::kPointEventBehind, beside_a_writer, 2)
TERN_TOLD_FAIL(TellsKeysToo, Mutant::kPointKeysTold, beside_a_writer, 2)

}  // namespace
}  // namespace tern::concurrency
