"""Reading and cutting images, against torchvision, pydicom and values worked by hand."""

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid
from torchvision import transforms as vision
from torchvision.transforms import functional as vision_f

from trainers.data import transforms
from trainers.data.items import BadItem

REAL = Path("../shared/data")
needs_real = pytest.mark.skipif(
    not REAL.is_dir(), reason="the sample of real radiographs is not beside this checkout"
)


def picture(width=60, height=40, seed=0):
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width), dtype=np.uint8))


def write_dicom(path, pixels, **tags):
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.Rows, data.Columns = pixels.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = pixels.dtype.itemsize * 8
    data.BitsStored = data.BitsAllocated
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    data.save_as(path)
    return path


def test_a_png_keeps_its_eight_bits(tmp_path):
    path = tmp_path / "胸片 1.png"
    picture().save(path)
    read = transforms.read_image(path)
    assert read.mode == "L"
    assert np.array_equal(read, picture())


def test_a_grey_png_saved_as_colour_keeps_its_values(tmp_path):
    for mode in ("RGB", "RGBA"):
        picture().convert(mode).save(tmp_path / "c.png")
        assert np.array_equal(transforms.read_image(tmp_path / "c.png"), picture())


def test_sixteen_bits_are_spread_from_darkest_to_brightest(tmp_path):
    values = np.array([[1000, 1100], [1510, 2020]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    read = transforms.read_image(tmp_path / "deep.png")
    assert np.asarray(read).tolist() == [[0, 25], [128, 255]]
    assert read.mode == "L"


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_a_truncated_image_is_a_bad_item_that_names_its_path(tmp_path, suffix, share):
    path = tmp_path / f"short{suffix}"
    picture(300, 300).save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(BadItem, match="decoded") as caught:
        transforms.read_image(path)
    assert caught.value.path == str(path)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.png", b"", "the file is empty"),
        ("text.jpg", b"<html>sign in first</html>", "cannot be decoded"),
        ("text.dcm", b"<html>sign in first</html>", "DICOM"),
        ("empty.dcm", b"", "the file is empty"),
    ],
)
def test_what_is_no_image_is_a_bad_item(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadItem, match=reason):
        transforms.read_image(tmp_path / name)


def test_a_file_that_is_not_there_and_a_folder_are_bad_items(tmp_path):
    with pytest.raises(BadItem, match="no such file"):
        transforms.read_image(tmp_path / "gone.png")
    with pytest.raises(BadItem, match="directory"):
        transforms.read_image(tmp_path)


def test_a_dicom_of_eight_bits_is_taken_as_it_is_and_monochrome1_turned_round(tmp_path):
    pixels = np.array([[10, 20], [30, 240]], dtype=np.uint8)
    plain = write_dicom(tmp_path / "a.dcm", pixels, WindowCenter=20, WindowWidth=10)
    turned = write_dicom(tmp_path / "b", pixels, PhotometricInterpretation="MONOCHROME1")
    assert np.asarray(transforms.read_image(plain)).tolist() == pixels.tolist()
    assert np.asarray(transforms.read_image(turned)).tolist() == (255 - pixels).tolist()


def test_a_dicom_of_more_bits_follows_its_window(tmp_path):
    pixels = np.array([[0, 1000], [1500, 4000]], dtype=np.uint16)
    path = write_dicom(
        tmp_path / "w.dcm", pixels, BitsStored=12, HighBit=11, WindowCenter=1500, WindowWidth=1001
    )
    # DICOM's formula: (x - 1499.5) / 1000 + 0.5
    assert np.asarray(transforms.read_image(path)).tolist() == [[0, 0], [128, 255]]


def test_a_dicom_window_is_in_units_of_the_rescaled_values(tmp_path):
    pixels = np.array([[0, 600], [1100, 2000]], dtype=np.int16)
    path = write_dicom(
        tmp_path / "w.dcm",
        pixels,
        RescaleSlope=2,
        RescaleIntercept=-1000,
        WindowCenter=[1200.5, 40],
        WindowWidth=[2001, 400],
        PhotometricInterpretation="MONOCHROME1",
    )
    # rescaled: -1000, 200, 1200, 3000; within 200 to 2200: 0, 0, 1/2, 1; then turned round
    assert np.asarray(transforms.read_image(path)).tolist() == [[255, 255], [127, 0]]


def test_a_dicom_of_more_bits_without_a_window_is_spread(tmp_path):
    pixels = np.array([[100, 200], [300, 610]], dtype=np.uint16)
    path = write_dicom(tmp_path / "w.dcm", pixels, BitsStored=10, HighBit=9)
    assert np.asarray(transforms.read_image(path)).tolist() == [[0, 50], [100, 255]]


def test_a_truncated_dicom_is_a_bad_item(tmp_path):
    path = write_dicom(tmp_path / "t.dcm", np.zeros((64, 64), dtype=np.uint16))
    whole = path.read_bytes()
    for size in (140, len(whole) // 3, len(whole) - 100):
        path.write_bytes(whole[:size])
        with pytest.raises(BadItem, match="decoded"):
            transforms.read_image(path)


def test_a_dicom_of_several_frames_is_a_bad_item(tmp_path):
    path = write_dicom(tmp_path / "f.dcm", np.zeros((3, 8, 8), dtype=np.uint8), NumberOfFrames=3)
    with pytest.raises(BadItem, match="3 frames"):
        transforms.read_image(path)


@pytest.mark.data
@needs_real
def test_a_real_dicom_and_its_monochrome1_twin_are_each_others_negative():
    folder = REAL / "siim_real"
    plain = folder / "1.2.276.0.7230010.3.1.4.8323329.6904.1517875201.850819.dcm"
    read = np.asarray(transforms.read_image(plain))
    twin = np.asarray(transforms.read_image(folder / "same_image_MONOCHROME1.dcm"))
    assert np.array_equal(read, pydicom.dcmread(plain).pixel_array)
    assert np.array_equal(twin, 255 - read)


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(8, 90),
    height=st.integers(8, 90),
    seed=st.integers(0, 2**32 - 1),
    bicubic=st.booleans(),
)
def test_a_random_crop_is_torchvisions_for_the_same_box(width, height, seed, bicubic):
    image = picture(width, height, seed)
    ours = transforms.BICUBIC if bicubic else transforms.BILINEAR
    theirs = vision.InterpolationMode.BICUBIC if bicubic else vision.InterpolationMode.BILINEAR
    scale, ratio = (0.2, 1.0), (3 / 4, 4 / 3)
    box = transforms.draw_crop(width, height, scale, ratio, np.random.default_rng(seed))
    cut = transforms.random_resized_crop(image, 24, scale, ratio, ours, np.random.default_rng(seed))
    assert np.array_equal(cut, vision_f.resized_crop(image, *box, [24, 24], theirs))


class Told:
    """Stands for torch's generator and for NumPy's: gives each asker the same shares in turn."""

    def __init__(self, shares):
        self.shares = list(shares)

    def uniform(self, low, high):
        return low + (high - low) * self.shares.pop(0)

    def integers(self, low, high):
        return low + int((high - low) * self.shares.pop(0))


@settings(max_examples=100, deadline=None)
@given(
    width=st.integers(4, 300),
    height=st.integers(4, 300),
    shares=st.lists(st.floats(0, 0.999), min_size=22, max_size=22),
    scale=st.sampled_from([(0.08, 1.0), (0.2, 1.0), (0.9, 1.0)]),
)
def test_a_box_is_drawn_as_torchvision_draws_it(width, height, shares, scale):
    ratio = (3 / 4, 4 / 3)
    ours = transforms.draw_crop(width, height, scale, ratio, Told(shares))
    told = Told(shares)
    with pytest.MonkeyPatch.context() as patch:
        # a 0-d double, where torch would draw a float32 and round the area differently
        patch.setattr(
            torch.Tensor,
            "uniform_",
            lambda self, low, high: torch.tensor(told.uniform(low, high), dtype=torch.float64),
        )
        patch.setattr(
            torch, "randint", lambda low, high, size: torch.tensor([told.integers(low, high)])
        )
        patch.setattr(torch, "log", lambda x: np.log(np.asarray(x, dtype=np.float64)))
        patch.setattr(torch, "exp", lambda x: torch.tensor(np.exp(float(x)), dtype=torch.float64))
        theirs = vision.RandomResizedCrop.get_params(picture(width, height), scale, list(ratio))
    apart = np.abs(np.subtract(ours, theirs))
    # torchvision keeps the bounds of the log ratio in float32: a side may round the other way
    assert apart.max() <= 1


def test_a_shape_that_never_fits_becomes_the_largest_central_box():
    rng = np.random.default_rng(0)
    assert transforms.draw_crop(400, 20, (1, 1), (0.75, 4 / 3), rng) == (0, 186, 20, 27)
    assert transforms.draw_crop(20, 400, (1, 1), (0.75, 4 / 3), rng) == (186, 0, 27, 20)


def test_boxes_cover_the_areas_and_shapes_they_are_told():
    rng = np.random.default_rng(0)
    boxes = [transforms.draw_crop(500, 500, (0.2, 0.6), (0.5, 2), rng) for _ in range(500)]
    areas = np.array([box.width * box.height for box in boxes]) / 500**2
    shapes = np.array([box.width / box.height for box in boxes])
    assert areas.min() == pytest.approx(0.2, abs=0.02)
    assert areas.max() == pytest.approx(0.6, abs=0.02)
    assert areas.mean() == pytest.approx(0.4, abs=0.02)
    assert shapes.min() == pytest.approx(0.5, abs=0.05)
    assert shapes.max() == pytest.approx(2, abs=0.1)


@settings(max_examples=60, deadline=None)
@given(width=st.integers(3, 90), height=st.integers(3, 90), px=st.integers(2, 60))
def test_resizing_and_the_central_crop_are_torchvisions(width, height, px):
    image = picture(width, height)
    small = transforms.resize_keep(image, px)
    assert np.array_equal(small, vision_f.resize(image, px))
    assert np.array_equal(transforms.center_crop(image, px), vision_f.center_crop(image, [px, px]))


def test_the_long_side_is_kept_to_and_the_rest_padded():
    image = transforms.resize_keep(picture(60, 40), 30, side="long")
    assert image.size == (30, 20)
    padded = transforms.pad_to(image, 30, fill=255)
    assert np.array_equal(np.asarray(padded)[:20], np.asarray(image))
    assert (np.asarray(padded)[20:] == 255).all()


def test_mirroring_happens_as_often_as_told_and_draws_one_number_either_way():
    image = picture()
    turned = np.asarray(image)[:, ::-1]
    rng, again = np.random.default_rng(1), np.random.default_rng(1)
    flips = [
        np.array_equal(transforms.hflip(image, rng, probability=0.3), turned) for _ in range(300)
    ]
    assert flips == (again.random(300) < 0.3).tolist()
    assert rng.random() == again.random()


def test_a_tensor_is_torchvisions_normalised_grey_in_three_channels():
    image = picture()
    tensor = transforms.to_tensor_normalised(image, 0.4978, 0.2449)
    theirs = vision_f.normalize(vision_f.to_tensor(image.convert("RGB")), [0.4978], [0.2449])
    assert tensor.dtype == torch.float32
    torch.testing.assert_close(tensor, theirs)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    theirs = vision_f.normalize(vision_f.to_tensor(image.convert("RGB")), mean, std)
    torch.testing.assert_close(transforms.to_tensor_normalised(image, mean, std), theirs)


def test_a_jpeg_is_decoded_in_full_size(tmp_path):
    buffer = io.BytesIO()
    picture(640, 480).save(buffer, "JPEG", quality=95)
    (tmp_path / "x.jpg").write_bytes(buffer.getvalue())
    assert transforms.read_image(tmp_path / "x.jpg").size == (640, 480)


def test_pixels_that_are_no_numbers_are_a_bad_item(tmp_path):
    values = np.array([[0.0, 1.0], [np.nan, 2.0]], dtype=np.float32)
    Image.fromarray(values).save(tmp_path / "deep.tif")
    with pytest.raises(BadItem, match="not all of its pixels are numbers"):
        transforms.read_image(tmp_path / "deep.tif")


def test_a_dicom_whose_slope_is_no_number_is_a_bad_item(tmp_path):
    pixels = np.arange(16, dtype=np.uint16).reshape(4, 4)
    path = write_dicom(tmp_path / "x.dcm", pixels, RescaleSlope="1", RescaleIntercept="0")
    path.write_bytes(path.read_bytes().replace(b"DS\x02\x001 ", b"DS\x02\x00x ", 1))
    with pytest.raises(BadItem, match=r"x\.dcm: its values cannot be read"):
        transforms.read_image(path)
