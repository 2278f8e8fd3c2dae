// Names of statuses and fields, in the documentation's spelling; and the key hash as a free function.
#include <tern/hash.h>
#include <tern/status.h>

#include "simd/hash.h"

namespace tern {

const char* status_name(Status status) noexcept {
  switch (status) {
    case Status::kOk: return "ok";
    case Status::kNotFound: return "not_found";
    case Status::kExists: return "exists";
    case Status::kMismatch: return "mismatch";
    case Status::kWrongType: return "wrong_type";
    case Status::kOutOfRange: return "out_of_range";
    case Status::kTooLarge: return "too_large";
    case Status::kInvalidKey: return "invalid_key";
    case Status::kInvalidArgument: return "invalid_argument";
    case Status::kOutOfMemory: return "out_of_memory";
    case Status::kViewExpired: return "view_expired";
    case Status::kCompacted: return "compacted";
    case Status::kClosed: return "closed";
    case Status::kCorrupt: return "corrupt";
    case Status::kIo: return "io";
    case Status::kUnsupported: return "unsupported";
    case Status::kUnavailable: return "unavailable";
    case Status::kTimedOut: return "timed_out";
    case Status::kCancelled: return "cancelled";
    case Status::kConflict: return "conflict";
  }
  return "unknown";
}

const char* field_name(Field field) noexcept {
  switch (field) {
    case Field::kNone: return "";
    case Field::kKey: return "key";
    case Field::kValue: return "value";
    case Field::kTtl: return "ttl";
    case Field::kIdle: return "idle";
    case Field::kKeys: return "keys";
    case Field::kAnswers: return "answers";
    case Field::kConditions: return "conditions";
    case Field::kBatch: return "batch";
    case Field::kReturnPrevious: return "return_previous";
    case Field::kDelta: return "delta";
    case Field::kStride: return "stride";
    case Field::kJitterPercent: return "jitter_percent";
    case Field::kMemoryBytes: return "memory_bytes";
    case Field::kMemoryBytesMax: return "memory_bytes_max";
    case Field::kMemory: return "memory";
    case Field::kShardCount: return "shard_count";
    case Field::kEntriesMax: return "entries_max";
    case Field::kEntriesExpected: return "entries_expected";
    case Field::kShrinkOnPressure: return "shrink_on_pressure";
    case Field::kShrinkFloorBytes: return "shrink_floor_bytes";
    case Field::kValueBytesMax: return "value_bytes_max";
    case Field::kHeldBytesMax: return "held_bytes_max";
    case Field::kMaxBatch: return "max_batch";
    case Field::kViewBytesMax: return "view_bytes_max";
    case Field::kRingBytes: return "ring_bytes";
    case Field::kKinds: return "kinds";
    case Field::kResume: return "resume";
    case Field::kGather: return "gather";
    case Field::kInterval: return "min_interval";
    case Field::kProgress: return "progress";
    case Field::kWatches: return "watches";
    case Field::kTags: return "tags";
    case Field::kLease: return "lease";
    case Field::kLeases: return "leases";
    case Field::kLock: return "lock";
    case Field::kOwner: return "owner";
    case Field::kToken: return "token";
    case Field::kFence: return "fence";
    case Field::kViews: return "views";
    case Field::kClock: return "clock";
    case Field::kName: return "name";
    case Field::kWeigher: return "weigher";
    case Field::kFull: return "full";
    case Field::kPattern: return "pattern";
    case Field::kSeparator: return "separator";
    case Field::kRegex: return "regex";
    case Field::kMaintenance: return "maintenance";
    case Field::kEvery: return "every";
    case Field::kHashSeed: return "hash_seed";
    case Field::kPath: return "path";
    case Field::kKeep: return "keep";
    case Field::kThreads: return "threads";
    case Field::kNamespaces: return "namespaces";
    case Field::kFoldCase: return "fold_case";
    case Field::kCheckPaths: return "check_paths";
    case Field::kNormalisePaths: return "normalise_paths";
    case Field::kSharePercent: return "share_percent";
    case Field::kCodec: return "codec";
    case Field::kScanThreads: return "scan_threads";
    case Field::kSizeAware: return "size_aware";
    case Field::kMetadata: return "metadata";
  }
  return "unknown";
}

std::uint64_t hash_key(std::string_view key, std::uint64_t seed) noexcept {
  return simd::hash_bytes(key.data(), key.size(), seed);
}

void hash_keys_batch(std::span<const std::string_view> keys, std::uint64_t seed, std::uint64_t* out) noexcept {
  simd::hash_batch(keys.data(), keys.size(), seed, out);
}

}  // namespace tern
