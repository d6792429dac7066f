#!/bin/sh
# Makes the virtual environment of SAEDashboard at "$1", once.
set -eu
venv=$1
stamp=$venv/.installed
test -e "$stamp" && exit 0
${PYTHON:-python3} -m venv "$venv"
pip="$venv/bin/python -m pip --quiet --disable-pip-version-check"
# torch first: an open range would fetch gigabytes of CUDA libraries.
$pip install torch==2.13.0
# newer pyarrow wants numpy 2, which TransformerLens does not
$pip install sae-dashboard==0.8.0 torch==2.13.0 transformers==4.56.2 transformer-lens==2.17.0 sae-lens==6.54.0 \
    numpy==1.26.4 pyarrow==21.0.0
$pip uninstall --yes torchvision  # of another torch, and nothing here sees
touch "$stamp"
