// The error of drd's files on disk: the store and the event log.
#pragma once

#include <stdexcept>

namespace dr::control {

// A file cannot be read or written, or holds what cannot be. The text names the file.
class StoreError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

}  // namespace dr::control
