#!/bin/sh
# Makes the virtual environment of one peer, "$1" (saelens, sparsify or dictionary_learning), at "$2", once.
set -eu
peer=$1 venv=$2
stamp=$venv/.installed
test -e "$stamp" && exit 0
${PYTHON:-python3} -m venv "$venv"
pip="$venv/bin/python -m pip --quiet --disable-pip-version-check"
# torch first: an open range would fetch gigabytes of CUDA libraries.
$pip install torch==2.13.0
case $peer in
saelens)
    # newer pyarrow wants numpy 2, which TransformerLens does not
    $pip install sae-lens==6.54.0 torch==2.13.0 transformers==4.57.3 transformer-lens==2.17.0 \
        numpy==1.26.4 pyarrow==21.0.0 ;;
sparsify) $pip install eai-sparsify==1.3.3 torch==2.13.0 transformers==4.57.3 ;;
dictionary_learning)
    # Its own requirements draw in UMAP and plotting, which training does not use; nnsight's torchvision is another torch's.
    $pip install --no-deps dictionary-learning==0.1.0
    $pip install torch==2.13.0 transformers==4.57.3 datasets==3.6.0 nnsight==0.3.7 einops tqdm safetensors wandb \
        zstandard
    $pip uninstall --yes torchvision ;;
*) echo "no peer named $peer" >&2; exit 2 ;;
esac
touch "$stamp"
