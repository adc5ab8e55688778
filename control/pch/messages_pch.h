// Precompiled for what of drd needs no gRPC, and for its tests: what takes most of the time to
// compile in each of them. They include what they use all the same.
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "dr/v1/api.pb.h"
