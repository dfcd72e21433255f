#include "rft/io/safetensors.h"

#include <ATen/ATen.h>

#include "support.h"

namespace rft::safetensors_test {
namespace {

using namespace testing;

/// The bytes of a file with this header and `data` zero bytes behind it.
std::string bytes(const std::string& header, size_t data) {
  uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + std::string(data, '\0');
}

/// What load_safetensors says of a file with this content, without the file's name.
std::string refusal(const std::string& content) {
  TempDir dir;
  std::string file = dir / "x.safetensors";
  write_file(file, content);
  auto message = message_of([&] { load_safetensors(file); });
  EXPECT_EQ(message.substr(0, file.size() + 3), "[" + file + "] ");
  return message.substr(std::min(message.size(), file.size() + 3));
}

/// The same, of the one tensor t with these fields and `data` bytes.
std::string refusal_of_tensor(const std::string& fields, size_t data) {
  return refusal(bytes("{\"t\":{" + fields + "}}", data));
}

TEST(Safetensors, ReadsEveryDtypeThatTheLibraryWrites) {
  auto file = load_safetensors(fixture("parity/data/safetensors/all_dtypes.safetensors"));
  auto counted = at::arange(6, at::kLong).view({2, 3});
  const std::map<std::string, at::ScalarType> types = {{"float64", at::kDouble},
                                                       {"float32", at::kFloat},
                                                       {"float16", at::kHalf},
                                                       {"bfloat16", at::kBFloat16},
                                                       {"float8_e4m3fn", at::kFloat8_e4m3fn},
                                                       {"float8_e5m2", at::kFloat8_e5m2},
                                                       {"complex64", at::kComplexFloat},
                                                       {"int64", at::kLong},
                                                       {"int32", at::kInt},
                                                       {"int16", at::kShort},
                                                       {"int8", at::kChar},
                                                       {"uint64", at::kUInt64},
                                                       {"uint32", at::kUInt32},
                                                       {"uint16", at::kUInt16},
                                                       {"uint8", at::kByte},
                                                       {"bool", at::kBool}};
  EXPECT_EQ(file.tensors.size(), types.size() + 2);
  for (const auto& [name, type] : types) {
    const Tensor& got = file.tensors.at(name);
    EXPECT_EQ(got.scalar_type(), type) << name;
    auto as_numbers = type == at::kComplexFloat ? at::real(got) : got;
    auto expected = type == at::kBool ? counted.ne(0).to(at::kDouble) : counted.to(at::kDouble);
    EXPECT_TRUE(as_numbers.to(at::kDouble).equal(expected)) << name;
  }
  EXPECT_EQ(file.tensors.at("scalar").dim(), 0);
  EXPECT_EQ(file.tensors.at("scalar").item<float>(), 7);
  EXPECT_EQ(file.tensors.at("empty").sizes(), (std::vector<int64_t>{0, 4}));
  EXPECT_EQ(file.metadata, (std::map<std::string, std::string>{{"format", "pt"}, {"note", "grüße"}}));
}

TEST(Safetensors, ReadsBackWhatItWrote) {
  TempDir dir;
  auto theirs = load_safetensors(fixture("parity/data/safetensors/all_dtypes.safetensors"));
  save_safetensors(dir / "a", theirs.tensors, theirs.metadata);
  auto ours = load_safetensors(dir / "a");
  ASSERT_EQ(ours.tensors.size(), theirs.tensors.size());
  for (const auto& [name, value] : theirs.tensors) {
    EXPECT_EQ(ours.tensors.at(name).scalar_type(), value.scalar_type()) << name;
    EXPECT_EQ(ours.tensors.at(name).sizes(), value.sizes()) << name;
    auto bytes_of = [](const Tensor& x) { return std::string(static_cast<const char*>(x.data_ptr()), x.nbytes()); };
    EXPECT_EQ(bytes_of(ours.tensors.at(name)), bytes_of(value)) << name;
  }
  EXPECT_EQ(ours.metadata, theirs.metadata);
  save_safetensors(dir / "b", ours.tensors, ours.metadata);
  EXPECT_EQ(read_file(dir / "a"), read_file(dir / "b"));
}

TEST(Safetensors, WritesViewsAndNoTensorsAtAll) {
  TempDir dir;
  save_safetensors(dir / "views", {{"t", at::arange(6, at::kFloat).view({2, 3}).t()}});
  EXPECT_TRUE(load_safetensors(dir / "views").tensors.at("t").equal(at::arange(6, at::kFloat).view({2, 3}).t()));
  save_safetensors(dir / "none", {}, {});
  EXPECT_TRUE(load_safetensors(dir / "none").tensors.empty());
}

TEST(Safetensors, KeepsTheFileAsItIsWhenATensorIsWrittenTo) {
  TempDir dir;
  save_safetensors(dir / "a", {{"t", at::zeros({4})}});
  std::string before = read_file(dir / "a");
  auto tensor = load_safetensors(dir / "a").tensors.at("t");  // keeps the map alive by itself
  tensor.fill_(1);
  EXPECT_EQ(read_file(dir / "a"), before);
  EXPECT_EQ(tensor.sum().item<float>(), 4);
}

TEST(Safetensors, WhatGivesBackItsMemoryIsReadAgain) {
  testing::TempDir dir;
  const Tensor written = at::arange(100000, at::kFloat);
  save_safetensors(dir / "a.safetensors", {{"a", written}, {"b", written.neg()}});
  const auto file = load_safetensors(dir / "a.safetensors");
  for (const auto& [name, value] : file.tensors) {
    EXPECT_TRUE(value.equal(name == "a" ? written : written.neg()));
    release_pages(value);
  }
  EXPECT_TRUE(file.tensors.at("a").equal(written));
  const Tensor own = at::ones({100000});
  release_pages(own);
  EXPECT_EQ(own.sum().item<double>(), 100000);
}

TEST(Safetensors, ReadsDataThatIsNotAligned) {
  TempDir dir;
  std::string content = bytes("{\"t\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}} ", 0);
  ASSERT_NE(content.size() % 4, 0u);
  const float values[] = {1.5f, -2};
  write_file(dir / "a", content + std::string(reinterpret_cast<const char*>(values), 8));
  EXPECT_TRUE(load_safetensors(dir / "a").tensors.at("t").equal(at::tensor({1.5f, -2.f})));
}

TEST(Safetensors, ReadsAnyNonzeroByteAsTrue) {
  TempDir dir;
  write_file(dir / "a",
             bytes("{\"t\":{\"dtype\":\"BOOL\",\"shape\":[3],\"data_offsets\":[0,3]}}", 0) + std::string("\0\1\7", 3));
  auto got = load_safetensors(dir / "a").tensors.at("t").to(at::kLong);
  EXPECT_TRUE(got.equal(at::tensor({0, 1, 1}, at::kLong)));
}

TEST(Safetensors, RefusesALengthThatDoesNotFit) {
  EXPECT_EQ(refusal(""), "a safetensors file has at least 8 bytes; got 0");
  EXPECT_EQ(refusal("1234567"), "a safetensors file has at least 8 bytes; got 7");
  EXPECT_EQ(refusal(std::string("\x10\0\0\0\0\0\0\0{}", 10)),
            "the header says it has 16 bytes, the file has only 2 after the length");
  EXPECT_EQ(refusal(std::string(8, '\xff') + "{}"),
            "the header may have at most 100000000 bytes; it says 18446744073709551615");
}

TEST(Safetensors, RefusesAHeaderThatIsNotTheFormats) {
  EXPECT_EQ(refusal(bytes("", 0)), "the header must begin with '{'");
  EXPECT_EQ(refusal(bytes(" {}", 0)), "the header must begin with '{'");
  EXPECT_EQ(refusal(bytes("{\"t\":", 0)), "the header is not JSON");
  EXPECT_EQ(refusal(bytes("{\"\xff\":1}", 0)), "the header is not JSON");
  EXPECT_EQ(refusal(bytes("{}{}", 0)), "the header is not JSON");
  EXPECT_EQ(refusal(bytes("{\"__metadata__\":{\"a\":1}}", 0)), "__metadata__ must be a map of texts; 'a' is none");
  EXPECT_EQ(refusal(bytes("{\"t\":3}", 0)), "tensor 't': needs dtype, shape and data_offsets; got 3");
  EXPECT_NE(refusal_of_tensor("\"dtype\":\"F32\",\"shape\":[1]", 4).find("needs dtype, shape and data_offsets"),
            std::string::npos);
}

TEST(Safetensors, RefusesDeepNesting) {
  for (const std::string& part : {std::string("["), std::string("{\"a\":")}) {
    std::string deep = "{\"t\":";
    for (int i = 0; i < 100000; ++i) deep += part;
    EXPECT_EQ(refusal(bytes(deep, 0)), "the header nests deeper than the format's 3");
  }
}

TEST(Safetensors, RefusesANameThatIsGivenTwice) {
  std::string tensor = "{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}";
  EXPECT_EQ(refusal(bytes("{\"t\":" + tensor + ",\"t\":" + tensor + "}", 1)), "the header gives the name 't' twice");
  EXPECT_EQ(refusal_of_tensor("\"dtype\":\"U8\",\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,1]", 1),
            "the header gives the name 'dtype' twice");
}

TEST(Safetensors, RefusesDtypesAndShapesThatAreNone) {
  auto says = [](const std::string& dtype, const std::string& shape, const std::string& offsets, size_t data = 8) {
    auto message =
        refusal_of_tensor("\"dtype\":" + dtype + ",\"shape\":" + shape + ",\"data_offsets\":" + offsets, data);
    return message.substr(0, message.find("; got "));
  };
  EXPECT_EQ(says("\"Q4\"", "[2]", "[0,8]"), "tensor 't': its dtype is not known");
  EXPECT_EQ(says("7", "[2]", "[0,8]"), "tensor 't': its dtype is not known");
  EXPECT_EQ(says("\"F32\"", "2", "[0,8]"), "tensor 't': shape must be a list of sizes");
  for (const char* shape : {"[-2]", "[2.0]", "[\"2\"]", "[null]", "[99999999999999999999]"})
    EXPECT_EQ(says("\"F32\"", shape, "[0,8]"), "tensor 't': shape must hold whole numbers of at least 0") << shape;
  for (const char* shape :
       {"[4611686018427387904,4]", "[0,4611686018427387904,4]", "[9223372036854775808]", "[18446744073709551615]"})
    EXPECT_EQ(says("\"F32\"", shape, "[0,8]"), "tensor 't': its size overflows") << shape;
  EXPECT_EQ(says("\"F32\"", "[3]", "[0,8]"), "tensor 't': shape and dtype take 12 bytes, data_offsets say otherwise");
  EXPECT_EQ(says("\"F32\"", "[2]", "[8,0]"), "tensor 't': shape and dtype take 8 bytes, data_offsets say otherwise");
  EXPECT_EQ(says("\"F32\"", "[0]", "[0,8]"), "tensor 't': shape and dtype take 0 bytes, data_offsets say otherwise");
  for (const char* offsets : {"[-8,0]", "[0]", "[0,8,8]", "[0.0,8.0]", "{}"})
    EXPECT_EQ(says("\"F32\"", "[2]", offsets), "tensor 't': data_offsets must be two whole numbers") << offsets;
}

TEST(Safetensors, RefusesTensorsThatOverlapOrLeaveHolesOrBytes) {
  auto two = [](const std::string& a, const std::string& b, size_t data) {
    auto tensor = [](const std::string& offsets) {
      return "{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":" + offsets + "}";
    };
    return refusal(bytes("{\"a\":" + tensor(a) + ",\"b\":" + tensor(b) + "}", data));
  };
  EXPECT_EQ(two("[0,4]", "[0,4]", 8), "tensor 'b' must begin at byte 4 of the data; its data_offsets say 0 (overlap)");
  EXPECT_EQ(two("[0,4]", "[2,6]", 8), "tensor 'b' must begin at byte 4 of the data; its data_offsets say 2 (overlap)");
  EXPECT_EQ(two("[0,4]", "[8,12]", 12), "tensor 'b' must begin at byte 4 of the data; its data_offsets say 8 (hole)");
  EXPECT_EQ(two("[0,4]", "[4,8]", 7), "the tensors take 8 bytes, the file holds 7: it is cut short");
  EXPECT_EQ(two("[0,4]", "[4,8]", 9), "the tensors take 8 bytes, the file holds 9: it has bytes that belong to none");
  EXPECT_EQ(refusal(bytes("{}", 1)), "the tensors take 0 bytes, the file holds 1: it has bytes that belong to none");
}

TEST(Safetensors, RefusesEveryPrefixOfAFile) {
  TempDir dir;
  save_safetensors(dir / "a", {{"t", at::ones({3})}, {"u", at::ones({2, 2}, at::kHalf)}});
  std::string whole = read_file(dir / "a");
  for (size_t size = 0; size < whole.size(); ++size) {
    write_file(dir / "b", whole.substr(0, size));
    EXPECT_THROW(load_safetensors(dir / "b"), UserError) << size;
  }
}

TEST(Safetensors, NamesAFileThatCanNotBeReadOrWritten) {
  TempDir dir;
  EXPECT_EQ(message_of([&] { load_safetensors(dir / "none"); }),
            "[" + dir / "none" + "] the file can't be read: No such file or directory");
  EXPECT_EQ(message_of([&] { load_safetensors(dir.path()); }),
            "[" + dir.path() + "] the file can't be read: it is not a regular file");
  EXPECT_EQ(message_of<RunError>([&] {
              save_safetensors("/dev/full", {{"t", at::ones({3})}});
            }),
            "[/dev/full] the file can't be written: No space left on device");
  EXPECT_THROW(save_safetensors(dir / "none/a", {{"t", at::ones({3})}}), RunError);
  EXPECT_THROW(save_safetensors(dir / "a", {{"t", at::zeros({1}, at::kComplexDouble)}}), RunError);
}

}  // namespace
}  // namespace rft::safetensors_test
