#include "engine/filter_set.h"

#include <cstring>
#include <new>
#include <utility>

#include "alloc/private_memory.h"

namespace tern::detail {

namespace {

constexpr Error kNoMemory{Status::kOutOfMemory, Field::kNone};

// Twice as many, the new ones as T() is; false: no memory, and nothing has changed.
template <class T>
bool grow(T*& list, std::size_t count, std::size_t to) noexcept {
  T* more = static_cast<T*>(alloc::private_allocate(to * sizeof(T)));
  if (more == nullptr) return false;
  for (std::size_t i = 0; i != to; ++i) new (more + i) T(i < count ? list[i] : T());
  alloc::private_free(list);
  list = more;
  return true;
}

}  // namespace

FilterSet::~FilterSet() {
  for (std::size_t i = 0; i != capacity_; ++i) scatter(starts_[i]);
  for (std::uint32_t i = 0; i != filter_room_; ++i) free(filters_[i]);
  alloc::private_free(starts_);
  alloc::private_free(lengths_);
  alloc::private_free(filters_);
}

void FilterSet::free(Filter* f) noexcept {
  if (f == nullptr) return;
  alloc::private_free(f->text);
  f->~Filter();
  alloc::private_free(f);
}

Error FilterSet::add(KeyFilter::Kind kind, std::string_view text, char separator, bool fold_case, std::uint64_t from,
                     std::uint32_t& number) noexcept {
  if (size_ == kFiltersMax) return {Status::kTooLarge, Field::kWatches};
  void* memory = alloc::private_allocate(sizeof(Filter));
  if (memory == nullptr) return kNoMemory;
  Filter* f = new (memory) Filter;
  Error error = f->keys.open(kind, text, separator, fold_case);
  f->from = from;
  f->separator = separator;
  f->fold_case = fold_case;
  f->is_expression = kind == KeyFilter::Kind::kGlob || kind == KeyFilter::Kind::kRegex;
  if (error.status == Status::kOk && f->is_expression && !text.empty()) {
    f->text = static_cast<char*>(alloc::private_allocate(text.size()));
    f->text_size = static_cast<std::uint32_t>(text.size());
    if (f->text != nullptr) {
      std::memcpy(f->text, text.data(), text.size());
    } else {
      error = kNoMemory;
    }
  }
  if (error.status == Status::kOk && (!make_room() || !count_length(f->keys.start().size()))) error = kNoMemory;
  if (error.status != Status::kOk) {
    free(f);
    return error;
  }
  const std::uint64_t hash = hash_of(f->keys.start());
  Start* s = start_of(f->keys.start(), hash);
  if (s != nullptr) {
    uncount_length(f->keys.start().size());
  } else {
    std::size_t i = place_of(hash);
    while (starts_[i].first != nullptr) i = (i + 1) & (capacity_ - 1);
    s = &starts_[i];
    s->hash = hash;
    ++start_count_;
  }
  scatter(*s);
  Filter** at = &s->first;
  if (f->is_expression) {
    while (*at != nullptr && !(*at)->is_expression) at = &(*at)->next;
    ++s->expressions;
  }
  f->next = *at;
  *at = f;
  while (filters_[first_free_] != nullptr) ++first_free_;
  number = f->number = first_free_;
  filters_[first_free_++] = f;
  ++size_;
  return {};
}

bool FilterSet::remove(std::uint32_t number) noexcept {
  if (number >= filter_room_ || filters_[number] == nullptr) return false;
  Filter* f = std::exchange(filters_[number], nullptr);
  if (number < first_free_) first_free_ = number;
  --size_;
  Start* s = start_of(f->keys.start(), hash_of(f->keys.start()));
  scatter(*s);
  Filter** at = &s->first;
  while (*at != f) at = &(*at)->next;
  if (s->first == f && f->next == nullptr) {
    uncount_length(f->keys.start().size());
    s->expressions = 0;
    erase(*s);
  } else {
    *at = f->next;
    if (f->is_expression) --s->expressions;
  }
  free(f);
  return true;
}

// Room for one filter and one start.
bool FilterSet::make_room() noexcept {
  if (size_ == filter_room_) {
    const std::uint32_t to = filter_room_ == 0 ? 16 : filter_room_ * 2;
    if (!grow(filters_, filter_room_, to)) return false;
    filter_room_ = to;
  }
  if ((start_count_ + 1) * 2 <= capacity_) return true;
  const std::size_t to = capacity_ == 0 ? 16 : capacity_ * 2;
  Start* starts = nullptr;
  if (!grow(starts, 0, to)) return false;
  std::swap(starts, starts_);
  const std::size_t before = std::exchange(capacity_, to);
  for (std::size_t i = 0; i != before; ++i) {
    if (starts[i].first == nullptr) continue;
    std::size_t at = place_of(starts[i].hash);
    while (starts_[at].first != nullptr) at = (at + 1) & (capacity_ - 1);
    starts_[at] = starts[i];
  }
  alloc::private_free(starts);
  return true;
}

// Its place is free; those that were pushed on by it move back.
void FilterSet::erase(Start& s) noexcept {
  std::size_t hole = static_cast<std::size_t>(&s - starts_);
  starts_[hole] = Start();
  --start_count_;
  for (std::size_t i = (hole + 1) & (capacity_ - 1); starts_[i].first != nullptr; i = (i + 1) & (capacity_ - 1)) {
    const std::size_t home = place_of(starts_[i].hash);
    if (((i - home) & (capacity_ - 1)) < ((i - hole) & (capacity_ - 1))) continue;
    starts_[hole] = std::exchange(starts_[i], Start());
    hole = i;
  }
}

bool FilterSet::count_length(std::size_t bytes) noexcept {
  unsigned i = 0;
  while (i != length_count_ && lengths_[i].bytes < bytes) ++i;
  if (i != length_count_ && lengths_[i].bytes == bytes) {
    ++lengths_[i].starts;
    return true;
  }
  if (length_count_ == length_room_) {
    const unsigned to = length_room_ == 0 ? 8 : length_room_ * 2;
    if (!grow(lengths_, length_room_, to)) return false;
    length_room_ = to;
  }
  for (unsigned k = length_count_++; k != i; --k) lengths_[k] = lengths_[k - 1];
  lengths_[i] = {bytes, 1};
  return true;
}
void FilterSet::uncount_length(std::size_t bytes) noexcept {
  unsigned i = 0;
  while (lengths_[i].bytes != bytes) ++i;
  if (--lengths_[i].starts != 0) return;
  --length_count_;
  for (; i != length_count_; ++i) lengths_[i] = lengths_[i + 1];
}

// False: they are asked one by one.
bool FilterSet::gather(Start& s) noexcept {
  if (s.together != nullptr) return true;
  if (s.is_apart) return false;
  s.is_apart = true;
  void* memory = alloc::private_allocate(sizeof(Together));
  if (memory == nullptr) return false;
  s.together = new (memory) Together;
  s.together->filters = static_cast<Filter**>(alloc::private_allocate(s.expressions * sizeof(Filter*)));
  bool ok = s.together->filters != nullptr && s.together->set.open();
  std::uint32_t n = 0;
  for (Filter* f = s.first; f != nullptr && ok; f = f->next) {
    if (!f->is_expression) continue;
    const std::string_view text{f->text, f->text_size};
    ok = f->keys.kind() == KeyFilter::Kind::kGlob ? s.together->set.add_glob(text, f->separator, f->fold_case)
                                                  : s.together->set.add_regex(text, f->fold_case);
    s.together->filters[n++] = f;
  }
  if (ok && s.together->set.compile()) {
    s.is_apart = false;
    return true;
  }
  scatter(s);
  s.is_apart = true;
  return false;
}
void FilterSet::scatter(Start& s) noexcept {
  s.is_apart = false;
  if (s.together == nullptr) return;
  alloc::private_free(s.together->filters);
  s.together->~Together();
  alloc::private_free(std::exchange(s.together, nullptr));
}

}  // namespace tern::detail
