// Cuts a stream into JSON objects without holding more than one of them: newline-delimited
// objects, or the elements of one array. The first character that is not blank tells which.
//
// Nothing is parsed here beyond brackets and strings; that is enough to keep a broken object from
// taking its neighbours with it:
//   lines   An object is complete when its brackets are. One that is not at the end of its line
//           goes on in the lines below that are indented deeper or begin with a closing bracket;
//           any other line begins the next object, and the unfinished one is an error.
//   array   An object whose strings or brackets are wrong is an error; the next one begins at the
//           next line that begins with '{', no deeper than the broken one began.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace dr::cli {

struct ScannedObject {
    std::uint64_t number = 0;  // 1 for the first
    std::uint64_t line = 0;    // where it begins, 1 for the first
    std::string text;
    // Why it is not an object; then `text` is the part that was read. Empty: brackets are sound.
    std::string error;
};

// Follows the brackets and strings of one object.
class BracketTracker {
  public:
    enum class State { Inside, Complete, Broken };
    State feed(char c);
    [[nodiscard]] const std::string& error() const { return error_; }

  private:
    State broken(const char* why);

    std::string open_;  // a '{' or '[' for each open bracket
    char before_ = 0;   // the last character that was not blank
    bool in_string_ = false;
    bool escaped_ = false;
    std::string error_;
};

class ObjectScanner {
  public:
    // Fills the span, returns how many bytes; 0 at the end. May throw.
    using Reader = std::function<std::size_t(std::span<char>)>;
    // Longer objects are refused, and memory stays bounded.
    static constexpr std::size_t kMaxObjectBytes = 1024 * 1024;

    explicit ObjectScanner(Reader reader);

    // False at the end of the input.
    bool next(ScannedObject& object);
    [[nodiscard]] bool is_array() const { return shape_ == Shape::Array; }
    [[nodiscard]] std::uint64_t bytes_read() const { return bytes_read_; }

  private:
    enum class Shape { Unknown, Lines, Array, Ended };
    static constexpr int kEnd = -1;

    int peek();
    int get();
    void skip_blanks();
    void begin(ScannedObject& object);
    static void append(ScannedObject& object, char c);

    void detect_shape();
    void read_line_object(ScannedObject& object);
    void rest_of_line(ScannedObject& object, const char* error);
    bool next_element(ScannedObject& object);
    void read_element(ScannedObject& object);
    void recover(ScannedObject& object, std::size_t indent);
    void after_element(ScannedObject& object);
    void skip_to_separator();

    Reader reader_;
    std::vector<char> buffer_;
    std::size_t position_ = 0;
    std::size_t filled_ = 0;
    std::uint64_t bytes_read_ = 0;
    std::uint64_t line_ = 1;
    std::uint64_t number_ = 0;
    std::size_t indent_ = 0;  // blanks at the beginning of the current line
    bool in_indent_ = true;
    bool closed_ = false;  // the array's ']' was read
    Shape shape_ = Shape::Unknown;
};

}  // namespace dr::cli
