// One line a minute for what is put back again and again.
#include "ur/repairs.h"

#include <utility>

#include "ur/log.h"

namespace dr::ur {

namespace {
constexpr liveness::Time kQuiet = 60 * liveness::kSecond;
}

void Repairs::note(const std::string& kind, const std::string& text) {
    any_ = true;
    Kind& entry = kinds_[kind];
    entry.text = text;
    ++entry.untold;
}

void Repairs::tell(Time now) {
    for (auto& [name, kind] : kinds_) {
        if (kind.untold == 0 || (kind.told_at != 0 && now < kind.told_at + kQuiet)) continue;
        const std::string times = kind.untold > 1 ? " times=" + std::to_string(kind.untold) : "";
        say("event=restored what=\"%s\"%s", kind.text.c_str(), times.c_str());
        kind.untold = 0;
        kind.told_at = now;
    }
}

bool Repairs::take() {
    return std::exchange(any_, false);
}

}  // namespace dr::ur
