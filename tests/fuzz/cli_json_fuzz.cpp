// What `drcli apply` reads: the scanner that cuts a stream into objects, and the fast reader of
// their JSON.
//
// The first byte is how many bytes the scanner gets at a time; the rest is the stream. Objects do
// not depend on how the stream comes in parts; and what the fast reader takes, the library reads
// too, and reads the same.
#include <google/protobuf/util/json_util.h>

#include "cli/fast_json.h"
#include "cli/object_scanner.h"
#include "cli/resource_json.h"
#include "tests/fuzz/fuzz.h"

using namespace dr;
using namespace dr::cli;
using fuzz::require;

namespace {

std::vector<ScannedObject> scan(const std::string& stream, std::size_t at_once) {
    std::size_t at = 0;
    ObjectScanner scanner([&](std::span<char> to) {
        const std::size_t n = std::min({to.size(), at_once, stream.size() - at});
        std::memcpy(to.data(), stream.data() + at, n);
        at += n;
        return n;
    });
    std::vector<ScannedObject> objects;
    for (ScannedObject object; scanner.next(object);) {
        objects.push_back(object);
        require(object.number == objects.size(), "numbers of objects");
        // An error in an array may be of the place where something is missing.
        require(objects.size() <= stream.size() + 1, "more objects than characters");
    }
    require(scanner.bytes_read() == stream.size(), "the stream was not read to its end");
    return objects;
}

void check_same(const std::vector<ScannedObject>& a, const std::vector<ScannedObject>& b) {
    require(a.size() == b.size(), "as many objects however it comes");
    for (std::size_t i = 0; i < a.size(); ++i)
        require(a[i].line == b[i].line && a[i].text == b[i].text && a[i].error == b[i].error,
                "the same objects however it comes");
}

void check_object(const std::string& text) {
    v1::Resource fast;
    const bool taken = read_plain_json(text, fast);
    const auto parsed = parse_resource(text);
    require(parsed.ok() || !parsed.violation.description().empty(), "refused without a word");
    if (!taken) return;
    v1::Resource slow;
    const auto status = google::protobuf::util::JsonStringToMessage(text, &slow);
    require(status.ok(), "the library does not take: " + text + ": " + status.ToString());
    require(fast.SerializeAsString() == slow.SerializeAsString(), "read differently: " + text);
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
    google::protobuf::SetLogHandler(nullptr);
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input(data, size);
    const std::size_t at_once = input.take<std::uint8_t>() + std::size_t{1};
    const std::string stream = input.text();
    const auto objects = scan(stream, stream.size() + 1);
    check_same(objects, scan(stream, at_once));
    for (const auto& object : objects) {
        require(object.line >= 1 && object.text.size() <= ObjectScanner::kMaxObjectBytes, "bounds");
        if (!object.error.empty()) continue;
        require(object.text.starts_with('{'), "no object: " + object.text);
        check_object(object.text);
    }
    return 0;
}
