// What batches are set beside, by the tests of the code as it is and of planted bugs.
#ifndef TERN_TESTS_ENGINE_SCHEDULES_BATCH_SCENES_H_
#define TERN_TESTS_ENGINE_SCHEDULES_BATCH_SCENES_H_

#include "tests/engine/schedules/batch_rig.h"

namespace tern::concurrency {

inline constexpr What kSet = What::kSet, kDel = What::kDel, kIsAbsent = What::kRequireAbsent, kIsThere = What::kRequirePresent,
               kIs = What::kRequireValue;

template <Mutant M>
struct Scene {
  explicit Scene(int threads, Chains chains = Chains::kShort, StoreKind kind = StoreKind::kPlain) : b(threads, chains, kind) {}

  Threads two_batches() {
    return {[&] { b.batch(0, {{kSet, 0, 'a'}, {kSet, 1, 'a'}}); }, [&] { b.batch(1, {{kSet, 0, 'b'}, {kSet, 1, 'b'}}); }};
  }
  // As before, but neither finds out beforehand what it will replace (short_batch.h).
  Threads two_batches_that_ask() {
    return {[&] { b.batch(0, {{kIsThere, 0}, {kSet, 0, 'a'}, {kIsThere, 1}, {kSet, 1, 'a'}}); },
            [&] { b.batch(1, {{kIsThere, 0}, {kSet, 0, 'b'}, {kIsThere, 1}, {kSet, 1, 'b'}}); }};
  }
  Threads two_batches_and_a_writer() {
    return {[&] { b.batch(0, {{kSet, 0, 'a'}, {kSet, 1, 'a'}}); }, [&] { b.batch(1, {{kSet, 0, 'b'}, {kSet, 1, 'b'}}); },
            [&] { b.set(2, 1, 'c'); }};
  }
  Threads two_batches_and_a_view() {
    return {[&] { b.batch(0, {{kSet, 0, 'a'}, {kSet, 1, 'a'}}); }, [&] { b.batch(1, {{kSet, 0, 'b'}, {kSet, 1, 'b'}}); },
            [&] { b.view(2, {0, 1}); }};
  }
  // In order of their hashes, batches that overlap in one key follow each other round.
  Threads three_in_a_ring() {
    return {[&] { b.batch(0, {{kSet, 0, 'a'}, {kSet, 1, 'a'}}); }, [&] { b.batch(1, {{kSet, 1, 'b'}, {kSet, 2, 'b'}}); },
            [&] { b.batch(2, {{kSet, 2, 'c'}, {kSet, 0, 'c'}}); }};
  }
  Threads beside_gets() {
    return {[&] { b.batch(0, {{kSet, 0, 'a'}, {kSet, 1, 'a'}}); },
            [&] {
              b.get(1, 0);
              b.get(1, 1);
              b.get(1, 0);
            }};
  }
  Threads beside_a_writer_and_gets() {
    return {[&] { b.batch(0, {{kSet, 0, 'a'}, {kSet, 1, 'a'}}); }, [&] { b.set(1, 0, 'c'); },
            [&] {
              b.get(2, 0);
              b.get(2, 1);
            }};
  }
  Threads beside_a_view() {
    return {[&] { b.batch(0, {{kSet, 0, 'a'}, {kSet, 1, 'a'}}); },
            [&] {
              b.view(1, {0, 1});
              b.get(1, 0);
            }};
  }
  Threads beside_a_moment() {
    return {[&] { b.batch(0, {{kSet, 0, 'a'}, {kSet, 1, 'a'}}); }, [&] { b.read(1, {0, 1}); }};
  }
  // The token is always in one of two places.
  Threads a_token_between_absent_keys() {
    return {[&] { b.batch(0, {{kDel, 0}, {kSet, 3, '0'}}); },
            [&] {
              b.read(1, {0, 3});
              b.view(1, {0, 3});
            }};
  }
  Threads two_inserts() {
    return {[&] { b.batch(0, {{kSet, 3, 'a'}, {kSet, 1, 'a'}}); }, [&] { b.batch(1, {{kSet, 3, 'b'}, {kSet, 1, 'b'}}); }};
  }
  // Whoever helps the first finds its second key absent, and may come too late with a placeholder.
  Threads late_placeholder() {
    return {[&] { b.batch(0, {{kDel, 0}, {kDel, 3}}); }, [&] { b.set(1, 0, 'b'); }};
  }
  Threads insert_beside_an_insert() {
    return {[&] { b.batch(0, {{kSet, 3, 'a'}, {kSet, 1, 'a'}}); },
            [&] {
              b.set(1, 3, 'c');
              b.get(1, 1);
            }};
  }
  Threads insert_beside_a_remover() {
    return {[&] { b.batch(0, {{kSet, 3, 'a'}, {kSet, 1, 'a'}}); },
            [&] {
              b.del(1, 3);
              b.del(1, 1);
            }};
  }
  Threads two_removers() {
    return {[&] { b.batch(0, {{kDel, 3}, {kDel, 0}}); }, [&] { b.batch(1, {{kDel, 3}, {kDel, 0}}); }};
  }
  Threads beside_increments() {
    return {[&] { b.batch(0, {{kSet, 0, '4'}, {kSet, 1, '4'}}); },
            [&] {
              b.add(1, 1);
              b.add(1, 0);
            }};
  }
  Threads beside_growth() {
    return {[&] { b.batch(0, {{kSet, 0, 'a'}, {kSet, 1, 'a'}}); }, [&] { b.rig.grow(1); }};
  }
  // Both ask for what only one can find.
  Threads same_condition() {
    return {[&] { b.batch(0, {{kIs, 0, '0'}, {kSet, 0, 'a'}, {kSet, 1, 'a'}}); },
            [&] { b.batch(1, {{kIs, 0, '0'}, {kSet, 0, 'b'}, {kSet, 1, 'b'}}); }};
  }
  Threads condition_beside_a_writer() {
    return {[&] { b.batch(0, {{kSet, 0, 'a'}, {kIs, 1, '0'}, {kSet, 1, 'a'}}); },
            [&] {
              b.set(1, 1, 'c');
              b.get(1, 0);
            }};
  }
  // The key that is asked for isn't written.
  Threads only_asking() {
    return {[&] { b.batch(0, {{kIs, 0, '0'}, {kSet, 1, 'a'}}); }, [&] { b.batch(1, {{kIs, 1, '0'}, {kSet, 0, 'b'}}); }};
  }
  Threads condition_on_an_absent_key() {
    return {[&] { b.batch(0, {{kIsAbsent, 3}, {kSet, 0, 'a'}, {kSet, 3, 'a'}}); },
            [&] { b.batch(1, {{kIsAbsent, 3}, {kSet, 3, 'b'}, {kIsThere, 1}}); }};
  }
  Threads failing_beside_a_view() {
    return {[&] { b.batch(0, {{kSet, 0, 'a'}, {kIs, 1, '0'}, {kSet, 3, 'a'}}); }, [&] { b.set(1, 1, 'c'); },
            [&] { b.view(2, {0, 1, 3}); }};
  }
  // A deadline that is moved while a batch takes it over: either the batch has it, or the mover replaces the record.
  Threads keep_ttl_beside_a_touch() {
    b.rig.at_end = [this] {
      tern::detail::Guard<typename BatchRig<M>::Sync> guard(b.rig.core().space, b.rig.own());
      const auto head = b.rig.core().head(b.keys[2].hash, b.keys[2].view());
      if (!head.present || head.deadline_ms != 2000) b.rig.complain("an extension was lost");
    };
    return {[&] { b.batch(0, {{kSet, 2, 'a', true}, {kSet, 1, 'a'}}); },
            [&] {
              if (!b.expire(1, 2, 2000)) b.rig.complain("a key that is there was not found");
            }};
  }
  // All three keep the deadline or move it: whatever their order, the moved one stays.
  Threads touch_increment_and_batch() {
    const Threads two = keep_ttl_beside_a_touch();
    return {[&] { b.batch(0, {{kSet, 2, '4', true}, {kSet, 1, '4'}}); }, two[1], [&] { b.add(2, 2); }};
  }

  // Whether the batch comes before or after them.
  Threads keep_metadata_beside_others() {
    b.rig.at_end = [this] {
      tern::detail::Guard<typename BatchRig<M>::Sync> guard(b.rig.core().space, b.rig.own());
      const auto head = b.rig.core().head(b.keys[0].hash, b.keys[0].view());
      if (!head.present || b.rig.core().space.metadata_of(*head.record, head.stamp) != "m") b.rig.complain("metadata were lost");
    };
    return {[&] { b.batch(0, {{kSet, 0, 'a', false, true}, {kSet, 1, 'a'}}); },
            [&] {
              if (!b.set_metadata(1, 0, "m")) b.rig.complain("a key that is there was not found");
            }};
  }
  Threads keep_metadata_beside_others_and_a_helper() {
    const Threads two = keep_metadata_beside_others();
    return {two[0], two[1], [&] { b.get(2, 0); b.set(2, 1, 'c'); }};
  }

  BatchRig<M> b;
};

}  // namespace tern::concurrency

#endif  // TERN_TESTS_ENGINE_SCHEDULES_BATCH_SCENES_H_
