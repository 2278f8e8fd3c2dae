// Saving a store, whoever asks for it.
#ifndef TERN_PERSIST_SAVE_H_
#define TERN_PERSIST_SAVE_H_

#include <string_view>

#include "engine/store_core.h"
#include "persist/fault.h"

namespace tern::persist {

// What is wrong with the arguments of a save.
Error check_save(std::string_view path, const SaveOptions& options) noexcept;

Error save(detail::StoreCore& store, std::string_view path, const SaveOptions& options, SaveReport& report, Trouble& trouble) noexcept;

}  // namespace tern::persist

#endif  // TERN_PERSIST_SAVE_H_
