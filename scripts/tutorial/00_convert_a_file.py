#!/usr/bin/env python3
from pixyz_worker import io
from pixyz_worker.script import *


def main(pc: ProgramContext, params: dict):
    pc.progress_set_total(3)
    extension = params.get("extension", "pxz").lower()

    # Import the file
    import_file_name = pc.get_input_file()
    pc.progress_next(f"Importing file: {import_file_name}")
    root = io.importScene(import_file_name)

    # Export it in the other format
    pc.progress_next(f"Exporting file as output.{extension}")
    io.exportScene(pc.get_output_dir(f"output.{extension}"), root)

    pc.progress_next("Conversion complete")
    return {"output": f"output.{extension}"}


if __name__ == "__main__":
    # python 00_convert_a_file.py INPUT [OUTPUT_DIR]
    main(ProgramContext.from_local(__file__, *sys.argv[1:3]), {})
