// What a sequence of operations is run against: the model of a store that the interpreter keeps beside it, the arguments
// that it reads from the sequence, and what it says when an answer isn't the model's.
#ifndef TERN_TESTS_ENGINE_API_OPERATION_MODEL_H_
#define TERN_TESTS_ENGINE_API_OPERATION_MODEL_H_

#include <tern/hash.h>
#include <tern/store.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/engine/api/operation_sequence.h"
#include "tests/engine/api/sequence_bytes.h"

namespace tern::test {

using std::chrono::milliseconds;
using namespace std::chrono_literals;

struct Known {
  std::string value;
  std::optional<milliseconds> deadline;
  std::uint64_t version = 0;  // 0: a call wrote it that tells no version
  unsigned tags = 0;          // a bit for each of OperationModel::kTags
  std::size_t lease = 0;      // its place in OperationModel::leases_, plus one; 0: none
  std::string metadata{};
};

struct KnownLease {
  Lease lease;
  milliseconds ttl{0};
  milliseconds deadline{0};
  bool revoked = false;
};

class OperationModel {
 protected:
  explicit OperationModel(std::span<const std::uint8_t> bytes) : in_(bytes) {}

  static constexpr std::size_t kValueMax = 40'000;
  static constexpr std::string_view kTags[] = {"t", "tag", "another tag, which is somewhat longer than the others"};
  static constexpr std::chrono::microseconds kLong = std::chrono::seconds(60);  // until nothing is owed

  std::string key() {
    const unsigned n = in_.below(key_count_);
    log_.emplace_back(op_, n);
    std::string k = "k" + std::to_string(n);
    if (n % 16 == 3) k.resize(n % 32 == 3 ? 254 : 255, 'x');
    if (n % 16 == 6) k.resize(300 + n % 7, '\0');
    if (n % 16 == 9) k.insert(1, 1, '\0');
    if (n % 64 == 12) k.resize(9'000, 'y');
    if (n % 64 == 44) k.resize(kKeyBytesMax, 'z');
    return k;
  }
  std::string value() {
    const unsigned form = in_.byte();
    if (form < 64) return std::to_string(static_cast<int>(in_.byte()) - 128);
    if (form < 72) return "0.5";
    std::size_t size = in_.byte() % 40;
    if (form >= 128) size = in_.byte() + 24;
    if (form >= 224) size = in_.two_bytes() % 9'000;
    if (form >= 250) size = kValueMax - 2 + in_.byte() % 4;  // the limit and one past it
    std::string v(size, '\0');
    const unsigned salt = in_.byte();
    for (std::size_t i = 0; i < size; ++i) v[i] = static_cast<char>(i * 7 + salt + (i >> 8));
    return v;
  }
  std::optional<milliseconds> ttl() {
    const unsigned b = in_.byte();
    if (b < 128) return std::nullopt;
    if (b < 132) return milliseconds(static_cast<int>(b) - 131);  // <= 0
    if (b == 132) return milliseconds::max();
    return milliseconds(b - 132);
  }
  SetOptions set_options(std::string_view k) {
    SetOptions o;
    const unsigned b = in_.byte();
    if (b < 64) return o;
    if ((b & 1) != 0) o.ttl = ttl();
    if ((b & 2) != 0) o.keep_ttl = true;
    if ((b & 12) == 4) o.if_absent = true;
    if ((b & 12) == 8) o.if_present = true;
    if ((b & 48) == 16) {
      const Known* e = live(k);
      o.if_version = e != nullptr && e->version != 0 ? e->version : 7;
      if ((b & 64) != 0) ++*o.if_version;
    }
    return o;
  }

  Known* live(std::string_view k) {
    const auto it = entries_.find(k);
    if (it == entries_.end()) return nullptr;
    if (it->second.deadline && clock_.at >= *it->second.deadline) return nullptr;
    if (it->second.lease != 0 && !lives(leases_[it->second.lease - 1])) return nullptr;
    return &it->second;
  }
  bool lives(const KnownLease& lease) const { return !lease.revoked && clock_.at < lease.deadline; }
  // One of the last few; null: there is none yet.
  KnownLease* a_lease() {
    if (leases_.empty()) return nullptr;
    const std::size_t back = in_.byte() % std::min<std::size_t>(leases_.size(), 4);
    return &leases_[leases_.size() - 1 - back];
  }
  std::size_t place_of(const KnownLease* lease) const {
    return lease == nullptr ? 0 : static_cast<std::size_t>(lease - leases_.data()) + 1;
  }
  static bool legal(const std::optional<milliseconds>& t) {
    return !t || (t->count() > 0 && t->count() < (1LL << 40));
  }
  static Status refusal(const milliseconds& t) {
    return t.count() <= 0 ? Status::kInvalidArgument : Status::kOutOfRange;
  }
  // What set() must answer to these options, if not ok.
  Status judge(std::string_view k, std::size_t size, const SetOptions& o) {
    if (size > kValueMax) return Status::kTooLarge;
    if (o.if_absent && (o.if_present || o.if_version)) return Status::kInvalidArgument;
    if (o.ttl && o.keep_ttl) return Status::kInvalidArgument;
    if (!legal(o.ttl)) return refusal(*o.ttl);
    const Known* e = live(k);
    if (o.if_absent && e != nullptr) return Status::kExists;
    if (o.if_version && (e == nullptr || (e->version != 0 && e->version != *o.if_version)))
      return Status::kMismatch;
    if (o.if_present && e == nullptr) return Status::kNotFound;
    return Status::kOk;
  }
  bool wrote(std::string_view k, std::string_view v, std::optional<milliseconds> deadline,
             std::uint64_t version) {
    std::uint64_t& last = versions_[std::string(k)];
    if (version != 0) {
      if (version <= last) return false;
      last = version;
    }
    entries_.insert_or_assign(std::string(k), Known{std::string(v), deadline, version});
    return true;
  }
  std::optional<milliseconds> deadline_of(std::string_view k) {
    const Known* e = live(k);
    return e == nullptr ? std::nullopt : e->deadline;
  }
  std::string metadata() {
    constexpr std::size_t kSizes[] = {1, 9, 200, kMetadataBytesMax, kMetadataBytesMax + 1};  // the last is too large
    const unsigned b = in_.byte();
    return std::string(kSizes[b % 5], static_cast<char>(b / 5));
  }
  // By a call that keeps the lifetime, the tags, the lease and the metadata, and tells no version.
  void changed(std::string_view k, std::string_view v) {
    const Known* e = live(k);
    const unsigned tags = e != nullptr ? e->tags : 0;
    const std::size_t lease = e != nullptr ? e->lease : 0;
    const std::string metadata = e != nullptr ? e->metadata : "";
    wrote(k, v, deadline_of(k), 0);
    Known& now = entries_.find(k)->second;
    now.tags = tags;
    now.lease = lease;
    now.metadata = metadata;
  }
  std::optional<milliseconds> deadline_after(const SetOptions& o, std::string_view k) {
    if (o.keep_ttl) return deadline_of(k);
    if (o.ttl) return clock_.at + *o.ttl;
    return std::nullopt;
  }
  void removed(std::string_view k) {
    if (live(k) != nullptr) entries_.erase(entries_.find(k));
  }
  bool may_be_full() {
    std::size_t bytes = 0;
    for (const auto& [k, e] : entries_) bytes += k.size() + e.value.size() + e.metadata.size() + 64;
    for (const auto& [h, v] : held_) bytes += v.size();
    return bytes > std::size_t{3} << 20;
  }

  void fail(const std::string& what) {
    if (!result_.difference.empty()) return;
    result_.difference =
        what + " (operation " + std::to_string(result_.operations) + "); before it:";
    const std::size_t from = log_.size() > 40 ? log_.size() - 40 : 0;
    for (std::size_t i = from; i < log_.size(); ++i) {
      result_.difference +=
          std::string("\n  ") + log_[i].first + " key " + std::to_string(log_[i].second);
    }
  }
  void expect(bool as_the_model, const char* what) {
    if (!as_the_model) fail(std::string(op_) + ": " + what);
  }
  void expect_status(Status got, Status expected) {
    note(static_cast<std::uint64_t>(got));
    if (got != expected)
      fail(std::string(op_) + " answered " + status_name(got) + " instead of " +
           status_name(expected));
  }
  // True: refused for lack of memory, which changed nothing and is plausible.
  bool refused(Status got) {
    if (got != Status::kOutOfMemory) return false;
    note(1'000);
    if (!may_be_full())
      fail(std::string(op_) + " answered out_of_memory in a store that is nearly empty");
    return true;
  }
  void note(std::uint64_t n) { digest_ = (digest_ ^ n) * 0x100000001b3u; }
  void note(std::string_view bytes) { note(hash_key(bytes, 1)); }

  template <class Fn>
  auto call(Fn&& fn) {
    return use_session_ ? fn(session_) : fn(store_);
  }

  void expect_value(std::string_view got, std::string_view expected) {
    note(got);
    expect(got == expected, "another value");
  }

  StillClock clock_;
  Bytes in_;
  unsigned key_count_ = 8;
  Store store_;
  Session session_;
  Values values_;
  bool use_session_ = false;
  bool brief_ticks_ = false;
  const char* op_ = "open";
  std::map<std::string, Known, std::less<>> entries_;
  std::map<std::string, std::uint64_t> versions_;  // the highest that a key is known to have had
  std::vector<KnownLease> leases_;
  std::vector<std::pair<HeldValue, std::string>> held_;
  std::vector<std::pair<const char*, unsigned>> log_;
  std::uint64_t digest_ = 0xcbf29ce484222325u;
  std::vector<std::uint64_t> swept_;  // ids of clear, del_prefix and del_tag
  SequenceResult result_;
};

}  // namespace tern::test

#endif  // TERN_TESTS_ENGINE_API_OPERATION_MODEL_H_
