import io
import math
import os
import random
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from unbraid.errors import ImageError
from unbraid.runtime import preprocess as unbraid_image
from unbraid.runtime.preprocess import ImagePreprocess, count_frames, decode, picture_size

RED, GREEN, BLUE, WHITE = (220, 30, 40), (30, 200, 60), (20, 40, 210), (255, 255, 255)
PLAIN = ImagePreprocess(32, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
CLIP = ImagePreprocess(32, (0.481, 0.458, 0.408), (0.269, 0.261, 0.276))


def picture(width=40, height=24):
    """Four differently coloured quarters, so that every turn and flip shows."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    return image


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width, height, rows, *, bits=1, colour=0, extra=b""):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.fixture
def saved(tmp_path):
    def save(data, name="picture.png"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return save


def close(image, other, tolerance=12):
    a, b = (np.asarray(x, dtype=int) for x in (image, other))
    return a.shape == b.shape and np.abs(a - b).max() <= tolerance


# ---- what decodes


@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("GIF", {}), ("WEBP", {"lossless": True}), ("JPEG", {"quality": 95})]
)
def test_each_format_decodes_whatever_its_suffix_says(saved, kind, options):
    image = decode(saved(encoded(picture(64, 32), kind, **options), "named.txt"))
    assert image.mode == "RGB" and image.size == (64, 32)
    for at, colour in (((8, 8), RED), ((56, 8), GREEN), ((8, 24), BLUE), ((56, 24), RED)):
        assert np.abs(np.subtract(image.getpixel(at), colour)).max() <= 4


def test_one_pixel_fills_its_square():
    image = decode(Image.new("RGB", (1, 1), RED))
    assert np.allclose(PLAIN(image), (np.array(RED) / 255)[:, None, None], atol=1e-6)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_gives_its_first_frame(saved, kind):
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, GREEN, BLUE)]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    with Image.open(io.BytesIO(data)) as check:
        assert check.n_frames == 3
    assert close(decode(saved(data)), frames[0], 3)


def test_a_phone_picture_with_an_embedded_second_one_gives_the_first(saved):
    data = encoded(picture(), "MPO", save_all=True, append_images=[Image.new("RGB", (40, 24), WHITE)])
    assert np.abs(np.subtract(decode(saved(data)).getpixel((4, 4)), RED)).max() <= 4


def test_16_bit_grey_is_scaled_not_clipped(saved):
    values = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    path = saved(encoded(Image.fromarray(values), "PNG"))
    expected = np.rint(values / 257).astype(int)
    assert (np.asarray(decode(path))[:, :, 1] == expected).all()
    assert (np.asarray(decode(Image.fromarray(values.astype(np.int32))))[:, :, 0] == expected).all()


def test_32_bit_pictures_take_the_range_that_holds_their_values():
    ramp = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)
    expected = np.rint(ramp * 255)
    for values in (ramp, ramp * 255):
        assert np.abs(np.asarray(decode(Image.fromarray(values)))[:, :, 0] - expected).max() <= 1
    small = Image.new("L", (2, 2), 200).convert("I")
    assert decode(small).getpixel((0, 0)) == (200, 200, 200)


def test_not_a_number_pixels_become_black():
    values = np.array([[np.nan, np.inf], [-np.inf, 0.5]], dtype=np.float32)
    assert decode(Image.fromarray(values)).getpixel((0, 0)) == (0, 0, 0)


def test_16_bit_transparent_value_becomes_white(saved):
    rows = b"".join(b"\0" + struct.pack(">2H", 0, 1000) for _ in range(2))
    path = saved(png(2, 2, rows, bits=16, extra=chunk(b"tRNS", struct.pack(">H", 1000))))
    image = decode(path)
    assert image.getpixel((0, 0)) == (0, 0, 0) and image.getpixel((1, 0)) == WHITE


def test_cmyk_jpeg_keeps_its_colours(saved):
    data = encoded(picture().convert("CMYK"), "JPEG", quality=95)
    with Image.open(io.BytesIO(data)) as check:
        assert check.mode == "CMYK"
    assert close(decode(saved(data)), picture(), 40)  # the chroma of a JPEG bleeds over edges


def test_a_tiff_of_16_bit_colours_keeps_them():
    """Pillow reads such a file but does not write one."""
    pixels = np.array([[[65535, 0, 32768], [257, 514, 65278]]], "<u2")
    tags = [(256, 2), (257, 1), (258, 20), (259, 1), (262, 2), (273, 8), (277, 3), (278, 1), (279, 12)]
    counts = {258: 3}
    folder = struct.pack("<H", len(tags))
    folder += b"".join(struct.pack("<HHII", tag, 3, counts.get(tag, 1), value) for tag, value in tags)
    content = struct.pack("<2sHI", b"II", 42, 26) + pixels.tobytes() + struct.pack("<3H", 16, 16, 16) + folder
    found = np.asarray(decode(content + bytes(4)))
    assert found.tolist() == [[[255, 0, 128], [1, 2, 254]]]


def test_lab_keeps_its_colours():
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    source = ImageCms.buildTransform(srgb, lab, "RGB", "LAB").apply(picture())
    assert source.mode == "LAB" and close(decode(source), picture(), 6)


@pytest.mark.parametrize("mode", ["1", "L", "P", "YCbCr", "HSV", "CMYK", "RGBX", "I", "F"])
def test_opaque_modes_give_what_a_plain_conversion_gives(mode):
    source = picture().convert("L") if mode in {"I", "F"} else picture()
    source = source.convert(mode)
    assert close(
        decode(source), source.convert("L").convert("RGB") if mode in {"I", "F"} else source.convert("RGB"), 2
    )


def half_clear(mode):
    image = picture().convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    if mode == "P":
        image.putalpha(image.getchannel("A").point(lambda v: 255 if v > 127 else 0))
        return image.quantize(16)
    return image.convert("LA").convert("La") if mode == "La" else image.convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "RGBa", "La", "P"])
def test_transparency_lies_on_white(mode):
    source = half_clear(mode)
    rgba = np.asarray((source.convert("LA") if mode == "La" else source).convert("RGBA"), dtype=float)
    alpha = rgba[:, :, 3:] / 255
    expected = np.rint(rgba[:, :, :3] * alpha + 255 * (1 - alpha))
    assert np.abs(np.asarray(decode(source), dtype=float) - expected).max() <= 1


def test_transparency_survives_files(saved):
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True}), ("GIF", {})):
        assert decode(saved(encoded(clear, kind, **options))).getpixel((4, 4)) == WHITE
    palette = clear.quantize(4)
    assert decode(saved(encoded(palette, "PNG"))).getpixel((4, 4)) == WHITE


@pytest.mark.parametrize(("mode", "key"), [("L", 0), ("RGB", (0, 0, 0)), ("1", 0)])
def test_a_colour_key_becomes_white(saved, mode, key):
    path = saved(encoded(Image.new(mode, (4, 4), key), "PNG", transparency=key))
    assert decode(path).getpixel((1, 1)) == WHITE


# ---- EXIF


def with_orientation(kind, turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    return encoded(picture(), kind, exif=exif.tobytes())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_orientation_turns_the_picture_upright(saved, kind, turn):
    """The row and column that TIFF 6.0 says each orientation's first row and column are."""
    image = decode(saved(with_orientation(kind, turn)))
    with Image.open(io.BytesIO(with_orientation(kind, 1))) as flat:
        pixels = np.asarray(flat.convert("RGB"))
    expected = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: pixels[::-1].transpose(1, 0, 2),
        7: pixels[::-1, ::-1].transpose(1, 0, 2),
        8: pixels[:, ::-1].transpose(1, 0, 2),
    }[turn]
    assert np.array_equal(np.asarray(image), expected)


def test_decoding_twice_turns_once(saved):
    once = decode(saved(with_orientation("JPEG", 6)))
    assert np.array_equal(np.asarray(decode(once)), np.asarray(once))
    with Image.open(io.BytesIO(with_orientation("JPEG", 6))) as opened:
        from_image = decode(opened)
    assert np.array_equal(np.asarray(decode(from_image)), np.asarray(once))


@pytest.mark.parametrize(
    "block", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0II*\0\xff\xff\xff\xff"]
)
def test_a_broken_exif_block_does_not_lose_the_picture(saved, block):
    assert decode(saved(encoded(picture(), "JPEG", exif=block))).size == (40, 24)


# ---- PIL images given by users


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "I;16"])
def test_a_given_image_is_not_changed(mode):
    source = Image.fromarray(np.full((6, 4), 999, np.uint16)) if mode == "I;16" else picture().convert(mode)
    source.info["note"] = "mine"
    before = (source.tobytes(), source.mode, source.size, dict(source.info))
    PLAIN(decode(source))
    assert (source.tobytes(), source.mode, source.size, dict(source.info)) == before


def test_a_given_image_and_its_file_agree(saved):
    for kind in ("PNG", "JPEG", "WEBP", "GIF"):
        path = saved(encoded(picture(), kind))
        with Image.open(path) as opened:
            assert np.array_equal(PLAIN.load(opened), PLAIN.load(path))


def test_a_large_jpeg_file_is_decoded_smaller_and_looks_the_same(saved):
    y, x = np.mgrid[0:960, 0:1280]
    waves = [127 + 120 * np.sin(x / (90 + 40 * c) + y / (130 - 30 * c)) for c in range(3)]
    path = saved(encoded(Image.fromarray(np.stack(waves, 2).astype(np.uint8)), "JPEG", quality=92))
    small, full = decode(path, at_least=128), decode(path)
    assert full.size == (1280, 960) and small.size == (160, 120)
    assert decode(path, at_least=1000).size == (1280, 960)
    difference = np.abs(PLAIN(small) - PLAIN(full))
    assert difference.mean() < 1 / 255 and difference.max() < 8 / 255
    assert decode(path, at_least=1).size == (160, 120)


def test_a_closed_image_is_an_image_error(saved):
    image = Image.open(saved(encoded(picture(), "PNG")))
    image.close()
    with pytest.raises(ImageError, match=r"PIL image .*picture\.png"):
        decode(image)


# ---- what is refused


def refused(path, reason=None):
    with pytest.raises(ImageError, match=reason) as caught:
        decode(path)
    assert str(path) in str(caught.value)


def test_a_decompression_bomb_is_refused_by_its_header(saved, monkeypatch):
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("decoded"))
    refused(saved(png(13_000, 13_000, b"\0" * 2000)), r"169,000,000 pixels, more than the cap of 50,000,000")
    refused(saved(png(8_000, 8_000, b"\0" * 2000)), r"8000 × 8000 = 64,000,000 pixels, more than the cap")
    refused(saved(png(30_000, 30_000, b"\0" * 2000)), r"900,000,000 pixels, more than the cap of 50,000,000")
    refused(
        saved(png(1, 49_000_000, b"\0" * 2000)), r"1 × 49000000 pixels, more than the cap of 65,535 on a side"
    )
    frame = encoded(Image.new("P", (4, 4)), "GIF")
    refused(saved(frame[:6] + struct.pack("<HH", 60_000, 60_000) + frame[10:]), "3,600,000,000 pixels")


def test_the_cap_is_inclusive_and_holds_for_given_images(monkeypatch):
    monkeypatch.setattr(unbraid_image, "MAX_PIXELS", 100)
    assert decode(Image.new("RGB", (10, 10))).size == (10, 10)
    with pytest.raises(ImageError, match="101 × 1 = 101 pixels, more than the cap of 100"):
        decode(Image.new("RGB", (101, 1)))


def test_a_file_too_large_to_be_a_picture_is_not_read(saved):
    path = saved(b"RIFF\xff\xff\xff\x7fWEBPVP8 ")
    os.truncate(path, 2 << 30)  # sparse
    refused(path, "2,147,483,648 bytes, more than the cap")


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (5, 0)])
def test_a_picture_without_pixels_is_refused(saved, size):
    with pytest.raises(ImageError, match="no pixels"):
        decode(Image.new("RGB", size))
    refused(saved(png(*size, b"")))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.9])
def test_a_truncated_file_is_refused(saved, kind, part):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    data = encoded(noise, kind)
    refused(saved(data[: int(len(data) * part)]))


@pytest.mark.parametrize(
    "data",
    [b"", b"a", b"hello, I am a text" * 9, b"%PDF-1.7 ...", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8\xff"],
)
def test_what_is_no_picture_is_refused(saved, data):
    refused(saved(data))


@pytest.mark.parametrize("kind", ["PPM", "PDF"])
def test_formats_beyond_the_known_are_refused(saved, kind):
    refused(saved(encoded(picture(), kind)), r"not a picture of a known kind \(PNG, JPEG, WEBP, GIF, ")


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "ICO", "AVIF"])
def test_bmp_tiff_ico_and_avif_are_read(saved, kind):
    one = Image.new("RGB", (48, 48), (200, 30, 30))
    read = decode(saved(encoded(one, kind)))
    assert (read.mode, read.size) == ("RGB", (48, 48)) and abs(read.getpixel((9, 9))[0] - 200) < 8


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "ICO", "AVIF", "PNG"])
def test_damaged_bytes_are_read_or_refused(kind):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8))
    whole, rng = encoded(noise, kind), random.Random(0)
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 12)):
            data[rng.randrange(min(len(data), 400))] = rng.randrange(256)
        for read in (decode, picture_size, count_frames):
            try:
                read(bytes(data))
            except ImageError:
                pass


@pytest.mark.parametrize("mode", ["CMYK", "I;16", "1", "L", "P", "LAB", "YCbCr", "F"])
def test_a_tiff_of_any_mode_is_read(mode):
    assert decode(encoded(Image.new(mode, (9, 9)), "TIFF")).mode == "RGB"


def test_each_page_of_a_tiff_is_read_and_of_others_the_first_frame():
    stream = io.BytesIO()
    pages = [Image.new("RGB", (20 + n, 20), "red") for n in range(3)]
    pages[0].save(stream, "TIFF", save_all=True, append_images=pages[1:])
    assert count_frames(stream.getvalue()) == 3
    assert [decode(stream.getvalue(), frame=n).width for n in range(3)] == [20, 21, 22]
    stream = io.BytesIO()
    frames = [Image.new("P", (20, 20), n) for n in range(2)]
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    assert count_frames(stream.getvalue()) == 1 and decode(stream.getvalue()).size == (20, 20)


def test_heic_says_what_to_do(saved):
    refused(
        saved(b"\0\0\0\x18ftypheic" + bytes(50)), "HEIC, which Pillow cannot read: save it as JPEG or PNG"
    )


@pytest.mark.parametrize("where", ["before", "after", "profile", "many"])
def test_a_png_with_large_text_or_profile_is_read(where):
    about, others = PngImagePlugin.PngInfo(), {}
    if where == "profile":
        others["icc_profile"] = bytes(4_000_000)
    elif where == "many":
        for number in range(70):
            about.add_text(f"key {number}", "x" * 1_000_000)
    else:
        packed = b"key\0\0" + zlib.compress(b"y" * 2_000_000)
        about.add(b"zTXt", packed, after_idat=where == "after")
    stream = io.BytesIO()
    Image.new("RGB", (50, 40), "red").save(stream, "PNG", pnginfo=about, **others)
    assert decode(stream.getvalue()).getpixel((9, 9)) == (255, 0, 0)
    assert picture_size(stream.getvalue()) == (50, 40)
    with pytest.raises(ImageError):  # damage is still damage
        decode(stream.getvalue()[: 60 if where == "after" else -200])


def test_missing_directory_and_pipe_are_refused(tmp_path):
    refused(tmp_path / "missing.png", "No such file")
    refused(tmp_path, "is a directory")
    os.mkfifo(tmp_path / "pipe.png")
    refused(tmp_path / "pipe.png", "not a regular file")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    refused(tmp_path / "loop.png")


def test_no_permission_is_an_image_error(saved, monkeypatch):
    path = saved(encoded(picture(), "PNG"))

    def denied(*_args, **_options):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", denied)  # root may read everything, so chmod would not do
    refused(path, "Permission denied")


def test_a_path_with_a_nul_byte_is_an_image_error():
    with pytest.raises(ImageError):
        decode(Path("a\0b.png"))


def test_warning_filters_are_left_as_they_were(saved):
    before = list(warnings.filters)
    decode(saved(encoded(picture(), "PNG")))
    assert warnings.filters == before


# ---- fuzz: a vector's input or ImageError, nothing else (warnings are errors here)


def survives(path, data):
    path.write_bytes(data)
    try:
        x = CLIP.load(path)
    except ImageError as error:
        assert str(path) in str(error)
    else:
        assert x.shape == (3, 32, 32) and np.isfinite(x).all()


FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SAMPLES = {
    "png": encoded(half_clear("P"), "PNG"),
    "png16": encoded(Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000), "PNG"),
    "apng": encoded(picture(), "PNG", save_all=True, append_images=[picture().rotate(180)]),
    "jpeg": with_orientation("JPEG", 6),
    "cmyk": encoded(picture().convert("CMYK"), "JPEG", progressive=True),
    "webp": encoded(half_clear("RGBA"), "WEBP", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0"),
    "gif": encoded(picture(), "GIF", save_all=True, append_images=[picture().rotate(180)]),
}
MAGIC = [
    b"",
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff\xe0",
    b"GIF89a",
    b"RIFF\x20\0\0\0WEBPVP8 ",
    b"RIFF\x20\0\0\0WEBPVP8X",
]


@FUZZ
@given(magic=st.sampled_from(MAGIC), data=st.binary(max_size=300))
@example(magic=b"", data=b"")
def test_random_bytes_decode_or_are_refused(tmp_path, magic, data):
    survives(tmp_path / "fuzz.png", magic + data)


@pytest.mark.parametrize("name", SAMPLES)
@FUZZ
@given(at=st.integers(0, 10**6), value=st.integers(0, 255))
def test_one_wrong_byte_decodes_or_is_refused(tmp_path, name, at, value):
    data = bytearray(SAMPLES[name])
    data[at % len(data)] = value
    survives(tmp_path / f"fuzz.{name}", bytes(data))


# ---- preprocessing


def cubic(x):
    """Keys 1981, a = -0.5."""
    x = abs(x)
    return 1.5 * x**3 - 2.5 * x**2 + 1 if x < 1 else -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def weights(n_in, n_out):
    """[n_out, n_in] of an antialiased bicubic resize, written out."""
    scale = n_in / n_out
    reach = max(scale, 1.0)
    rows = np.array(
        [[cubic((j + 0.5 - (i + 0.5) * scale) / reach) for j in range(n_in)] for i in range(n_out)]
    )
    return rows / rows.sum(1, keepdims=True)


@pytest.mark.parametrize("shape", [(24, 40), (40, 24), (32, 32), (7, 5), (90, 61), (3, 100), (1, 1)])
def test_values_equal_a_resize_written_out(shape):
    pixels = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    height, width = shape
    scale = 32 / max(shape)
    h, w = max(1, round(height * scale)), max(1, round(width * scale))
    grey = np.clip(np.einsum("ia,abc->ibc", weights(height, h), pixels.astype(float)), -1e9, 1e9)
    grey = np.clip(np.einsum("jb,ibc->ijc", weights(width, w), grey), 0, 255)
    square = np.full((32, 32, 3), 255.0)
    top, left = (32 - h) // 2, (32 - w) // 2
    square[top : top + h, left : left + w] = grey
    expected = (square / 255 - np.array(CLIP.mean)) / np.array(CLIP.std)
    # Pillow rounds to 8 bits after each of the two passes, and clips between them.
    got = CLIP(Image.fromarray(pixels)) * np.array(CLIP.std)[:, None, None] * 255
    difference = np.abs(got - expected.transpose(2, 0, 1) * np.array(CLIP.std)[:, None, None] * 255)
    assert np.median(difference) <= 0.6 and np.quantile(difference, 0.9) <= 2


def test_a_wide_picture_is_padded_with_white_above_and_below():
    x = PLAIN(Image.new("RGB", (64, 16), RED))
    assert x.shape == (3, 32, 32) and x.dtype == np.float32 and x.flags.c_contiguous
    assert (x[:, :12] == 1).all() and (x[:, 20:] == 1).all()
    assert np.allclose(x[:, 12:20], (np.array(RED, np.float32) / 255)[:, None, None], atol=1e-6)


def test_mean_and_std_are_those_of_each_channel():
    x = CLIP(Image.new("RGB", (5, 5), RED))
    for channel in range(3):
        expected = (RED[channel] / 255 - CLIP.mean[channel]) / CLIP.std[channel]
        assert math.isclose(float(x[channel, 0, 0]), expected, rel_tol=1e-5)


@pytest.mark.parametrize("shape", [(1, 65_535), (65_535, 1), (3, 4000), (4000, 3000)])
def test_extreme_shapes_and_large_pictures_fit(shape):
    x = PLAIN(Image.new("RGB", shape, BLUE))
    assert x.shape == (3, 32, 32) and np.isfinite(x).all() and x.min() < 0.2


def test_the_same_picture_gives_the_same_bytes_each_time():
    image = Image.fromarray(np.random.default_rng(2).integers(0, 256, (700, 900, 3), dtype=np.uint8))
    assert CLIP(image).tobytes() == CLIP(image.copy()).tobytes()


def test_only_rgb_is_taken():
    with pytest.raises(ValueError, match="decode first"):
        PLAIN(Image.new("L", (4, 4)))


def test_the_description_survives_json_and_refuses_nonsense():
    assert ImagePreprocess(32, [0.5, 0.5, 0.5], [1, 1, 1]) == ImagePreprocess(
        32, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0)
    )
    for fields in (
        (0, (0, 0, 0), (1, 1, 1)),
        (8, (0, 0), (1, 1, 1)),
        (8, (0, 0, 0), (1, 0, 1)),
        (8, (0, 0, 0), (1, 1, 1), "stretch"),
        (8.5, (0, 0, 0), (1, 1, 1)),
        (4097, (0, 0, 0), (1, 1, 1)),
        (8, (0, 0, 0), (1, 1, 1), "crop", "bicubic", 33),
    ):
        with pytest.raises(ValueError):
            ImagePreprocess(*fields)


def test_bytes_are_decoded_as_their_file_and_measured_by_the_header(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (5, 3), "red").save(path)
    assert picture_size(path.read_bytes()) == (5, 3)
    assert np.array_equal(np.asarray(decode(path.read_bytes())), np.asarray(decode(path)))
    for content in (b"", b"not a picture", path.read_bytes()[:40]):
        with pytest.raises(ImageError, match="picture"):
            decode(content)


@pytest.mark.parametrize(
    ("method", "at_least"), [("fit", 128), ("pad", None), ("crop", None), ("squash", None)]
)
def test_only_a_picture_that_is_fitted_may_be_decoded_smaller(method, at_least):
    assert ImagePreprocess(32, (0, 0, 0), (1, 1, 1), method=method).at_least == at_least
