// Each bug that the protocol of batches, or a model of it, had at some time: planted in the engine, and found.
#include <gtest/gtest.h>

#include "tests/engine/schedules/batch_scenes.h"

namespace tern::concurrency {
namespace {

#define TERN_FOUND(test, mutant, scene, threads, ...)                          \
  TEST(BatchMutants, test) {                                                  \
    Scene<mutant> s(threads __VA_OPT__(, ) __VA_ARGS__);                      \
    expect_found("batches, planted " #test, s.b, s.scene());                \
  }

TERN_FOUND(StampEarly, Mutant::kBatchStampEarly, beside_a_view, 2)
TERN_FOUND(LateInstall, Mutant::kBatchLateInstall, two_batches_and_a_writer, 3)
TERN_FOUND(WithoutFreeze, Mutant::kBatchWithoutFreeze, keep_ttl_beside_a_touch, 2)
TERN_FOUND(StaleMetadata, Mutant::kBatchStaleMetadata, keep_metadata_beside_others, 2)
TERN_FOUND(VersionByStore, Mutant::kBatchVersionByStore, two_batches, 2, Chains::kKeptByAView)
TERN_FOUND(LookLate, Mutant::kBatchLookLate, two_batches, 2)
TERN_FOUND(CutOffUnderAView, Mutant::kNolinkOnUnequalStamp, beside_a_view, 2)
TERN_FOUND(PlaceholderLeft, Mutant::kBatchPlaceholderLeft, late_placeholder, 2)
TERN_FOUND(HuskLeft, Mutant::kBatchHuskLeft, condition_beside_a_writer, 2)
TERN_FOUND(LinkAfterState, Mutant::kLinkAfterState, beside_gets, 2)
TERN_FOUND(TrimUnmarked, Mutant::kTrimUnmarked, two_batches_that_ask, 2)

}  // namespace
}  // namespace tern::concurrency
