#!/bin/sh
# Makes circuit-tracer 0.5.0's own virtual environment at "$1" (it needs older libraries than ours), once.
set -eu
venv=$1
stamp=$venv/.installed
test -e "$stamp" && exit 0
${PYTHON:-python3} -m venv "$venv"
pip="$venv/bin/python -m pip --quiet --disable-pip-version-check"
# torch first: an open range would fetch gigabytes of CUDA libraries.
$pip install torch==2.13.0
$pip install circuit-tracer==0.5.0 torch==2.13.0 transformers==4.57.3 transformer-lens==2.17.0 nnsight==0.6.3 \
    numpy==1.26.4 pyarrow==21.0.0  # newer pyarrow wants numpy 2
touch "$stamp"
