// Where the catalog's changes go: the data plane, or nothing.
#pragma once

#include <cstdint>
#include <string>

#include "control/model/records.h"

namespace dr::control {

struct Installed {
    enum class Result {
        Accepted,  // committed in the data plane's tables
        Deferred,  // the data plane is away, syncing or slow: it gets the change later
        Refused,   // nothing changed there
    };
    Result result = Result::Deferred;
    bool full = false;         // Refused: no room
    std::uint32_t record = 0;  // Refused: index of the record at fault
    std::string text;          // Refused: the data plane's words
};

class Installer {
  public:
    Installer() = default;
    Installer(const Installer&) = delete;
    Installer& operator=(const Installer&) = delete;
    virtual ~Installer() = default;

    // Hands a transaction over and waits, for at most 2 s, for the data plane's verdict. Called by
    // the catalog with its writer lock held, before the change is durable.
    virtual Installed install(const Transaction& transaction) = 0;
    // A change that install() has accepted did not become durable: the data plane must be compared
    // and replayed.
    virtual void resync() = 0;
    virtual void set_drain(bool drain) = 0;
};

}  // namespace dr::control
