// Writes of one key against each other and against views: no write is lost, versions grow, a view
// shows each key as it was at one moment however often it is read, and what no view needs goes,
// once.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/engine/schedules/exploring.h"

namespace tern::concurrency {
namespace {

template <Mutant M>
struct Pair {
  // With `old_views`, each key has a chain of versions that only closed views have asked for.
  explicit Pair(int threads, int old_versions = 0) : rig(threads) {
    KeyFinder finder;
    first = finder.in_bucket(5);
    second = finder.in_bucket(6);
    absent = finder.in_bucket(5);
    const int own = rig.own_index();
    rig.set(own, first, "0");
    rig.set(own, second, "0");
    std::vector<typename Rig<M>::Opened> views;
    for (int i = 0; i != old_versions; ++i) {
      views.push_back(rig.core().space.views.open(tern::detail::ViewOwner::kUser));
      rig.set(own, first, "0");
    }
    for (const auto& view : views) rig.core().space.views.close(view);
    rig.freeze();
  }

  Threads writers_and_a_swap() {
    return {[&] { rig.set(0, first, "1"); },
            [&] {
              rig.cas(1, first, "0", "2");
              rig.get(1, first);
            }};
  }
  Threads writers_a_swap_and_a_reader() {
    return {[&] { rig.set(0, first, "1"); }, [&] { rig.cas(1, first, "0", "2"); },
            [&] {
              rig.get_and_set(2, first, "3");
              rig.get(2, first);
            }};
  }
  Threads view_beside_a_writer() {
    return {[&] { rig.set(0, first, "1"); },
            [&] {
              rig.get(1, first);
              rig.look(1, {&first});
              rig.get(1, first);
            }};
  }
  // In this order, so whoever sees the second must see the first.
  Threads view_of_two_keys() {
    return {[&] {
              rig.set(0, first, "1");
              rig.set(0, second, "1");
            },
            [&] {
              const auto seen = rig.look(1, {&first, &second});
              if (seen[1] == "1" && seen[0] != "1")
                rig.complain("a view shows the later write without the earlier");
            }};
  }
  Threads view_beside_a_remover() {
    return {[&] {
              rig.del(0, first);
              rig.set(0, first, "1");
            },
            [&] {
              rig.look(1, {&first, &absent});
            }};
  }
  Threads view_beside_an_inserter() {
    return {[&] { rig.set(0, absent, "1"); },
            [&] {
              rig.get(1, absent);
              rig.look(1, {&absent, &first});
            }};
  }
  Threads two_views() {
    return {[&] {
              rig.set(0, first, "1");
              rig.set(0, first, "2");
            },
            [&] { rig.look(1, {&first}); }, [&] { rig.look(2, {&first}); }};
  }
  Threads trimmers() {
    return {[&] { rig.set(0, first, "1"); }, [&] { rig.set(1, first, "2"); }};
  }
  Threads swap_beside_an_inserter() {
    return {[&] { rig.set_nx(0, absent, "1"); },
            [&] {
              rig.cas(1, absent, "1", "2");
              rig.get(1, absent);
            }};
  }
  // A token goes from key to key: never none, never two at one moment.
  Threads moment_beside_a_token() {
    return {[&] {
              rig.set(0, first, "1");
              rig.set(0, second, "1");
            },
            [&] {
              const auto seen = rig.moment(1, {&first, &second});
              if (seen[1] == "1" && seen[0] != "1")
                rig.complain("a moment shows the later write without the earlier");
            }};
  }
  Threads moment_beside_a_remover() {
    return {[&] {
              rig.set(0, absent, "t");
              rig.del(0, first);
            },
            [&] {
              const auto seen = rig.moment(1, {&first, &absent});
              if (seen[0] == "-" && seen[1] == "-")
                rig.complain("a moment shows neither of two keys, one always there");
            }};
  }
  Rig<M> rig;
  Key first, second, absent;
};

TEST(Commit, AWriterAndASwap) {
  Pair<Mutant::kNone> b(2);
  expect_holds("commit, writer and swap", b.rig, b.writers_and_a_swap());
}
TEST(Commit, TwoWritersASwapAndAReader) {
  Pair<Mutant::kNone> b(3);
  expect_holds("commit, three", b.rig, b.writers_a_swap_and_a_reader());
}
TEST(Commit, ASwapOfAKeyThatIsBeingInserted) {
  Pair<Mutant::kNone> b(2);
  expect_holds("commit, swap of an insert", b.rig, b.swap_beside_an_inserter());
}
TEST(Commit, NobodyWaitsForAStoppedWriter) {
  Pair<Mutant::kNone> b(3);
  expect_holds("commit, stopped", b.rig, b.writers_a_swap_and_a_reader(),
               {.preemptions = 1, .freeze = Freeze::kAllButOne});
}
TEST(Views, AViewBesideAWriter) {
  Pair<Mutant::kNone> b(2);
  expect_holds("views, writer", b.rig, b.view_beside_a_writer());
}
TEST(Views, AViewOfTwoKeys) {
  Pair<Mutant::kNone> b(2);
  expect_holds("views, two keys", b.rig, b.view_of_two_keys());
}
TEST(Views, AViewBesideARemover) {
  Pair<Mutant::kNone> b(2);
  expect_holds("views, remover", b.rig, b.view_beside_a_remover());
}
TEST(Views, AViewBesideAnInserter) {
  Pair<Mutant::kNone> b(2);
  expect_holds("views, inserter", b.rig, b.view_beside_an_inserter());
}
TEST(Views, TwoViews) {
  Pair<Mutant::kNone> b(3);
  expect_holds("views, two", b.rig, b.two_views(), {.preemptions = 2, .random = 20'000});
}
TEST(Views, TwoTrimmersOfOneChain) {
  Pair<Mutant::kNone> b(2, 3);
  expect_holds("views, trimmers", b.rig, b.trimmers());
}
TEST(Views, AMomentOfTwoKeys) {
  Pair<Mutant::kNone> b(2);
  expect_holds("moment, two keys", b.rig, b.moment_beside_a_token());
}
TEST(Views, AMomentBesideAnInsertAndARemoval) {
  Pair<Mutant::kNone> b(2);
  expect_holds("moment, remover", b.rig, b.moment_beside_a_remover());
}

TEST(CommitMutants, SwapFromStaleWord) {
  Pair<Mutant::kSwapFromStaleWord> b(2);
  expect_found("swap from stale word", b.rig, b.writers_and_a_swap());
}
TEST(CommitMutants, ReplaceUnstamped) {
  Pair<Mutant::kReplaceUnstamped> b(2);
  expect_found("replace unstamped", b.rig, b.swap_beside_an_inserter());
}
TEST(ViewMutants, StampBeforePublishOfAnOverwrite) {
  Pair<Mutant::kStampBeforePublish> b(2);
  expect_found("stamp before publish", b.rig, b.view_beside_a_writer());
}
TEST(ViewMutants, ReadUnstamped) {
  Pair<Mutant::kReadUnstamped> b(2);
  expect_found("read unstamped", b.rig, b.view_beside_a_writer());
}
TEST(ViewMutants, TrimNeeded) {
  Pair<Mutant::kTrimNeeded> b(2);
  expect_found("trim needed", b.rig, b.view_beside_a_writer());
}
TEST(ViewMutants, TrimWithoutClose) {
  Pair<Mutant::kTrimWithoutClose> b(2, 3);
  expect_found("trim without close", b.rig, b.trimmers());
}
TEST(ViewMutants, NolinkOnUnequalStamp) {
  Pair<Mutant::kNolinkOnUnequalStamp> b(2);
  expect_found("nolink on unequal stamp", b.rig, b.view_beside_a_writer());
}

}  // namespace
}  // namespace tern::concurrency
