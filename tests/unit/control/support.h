// What the tests of control/ share.
#pragma once

#include <google/protobuf/util/json_util.h>
#include <stdlib.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>

#include "control/model/catalog.h"

namespace dr::control::test {

// Removed with everything in it.
class TemporaryFolder {
  public:
    TemporaryFolder() {
        std::string name = "/tmp/drd-test-XXXXXX";
        path_ = ::mkdtemp(name.data());
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;
    ~TemporaryFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }

  private:
    std::string path_;
};

inline v1::Resource resource(const std::string& json) {
    v1::Resource out;
    const auto status = google::protobuf::util::JsonStringToMessage(json, &out);
    INFO(json << ": " << status.ToString());
    REQUIRE(status.ok());
    return out;
}

inline Object object(const std::string& json) {
    const v1::Resource r = resource(json);
    if (r.has_pool()) return r.pool();
    if (r.has_policy()) return r.policy();
    return r.subscriber();
}

// Polls until `condition` holds; false when it does not within the time.
inline bool eventually(const std::function<bool()>& condition,
                       std::chrono::milliseconds patience = std::chrono::seconds(10)) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (!condition()) {
        if (std::chrono::steady_clock::now() >= deadline) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return true;
}

inline constexpr const char* kPool4 =
    R"({"pool":{"name":"v4","prefix":"203.0.113.0/24","announce":true}})";
inline constexpr const char* kPool6 = R"({"pool":{"name":"v6","prefix":"2001:db8:5000::/36"}})";
inline constexpr const char* kPolicy =
    R"({"policy":{"name":"default","classes":[{"name":"all","tiers":[{"lines":[
        {"line":"a","weight":3},{"line":"b"}]}]}]}})";
inline constexpr const char* kSite =
    R"({"subscriber":{"name":"site-1","prefixes":["203.0.113.8/29"],"policy":"default","tunnels":[
        {"line":"a","encapsulation":"GRE_UDP","local":"192.0.2.1","remote":"198.51.100.7"}]}})";

}  // namespace dr::control::test
