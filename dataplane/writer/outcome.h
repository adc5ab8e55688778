// How a transaction went.
#pragma once

#include <cstdint>
#include <string>

#include "dataplane/southbound/protocol.h"

namespace dr::southbound {

struct Outcome {
    Status status = Status::Ok;
    std::uint32_t record = 0;  // of the transaction, at fault
    std::string text;          // what was wrong and what would be right

    [[nodiscard]] bool ok() const { return status == Status::Ok; }
};

}  // namespace dr::southbound
