"""Define the towers as plain torch modules.

They contain no files, no text, no images and no optimizations. They are the reference of what a
CLIP computes; `zeroshot.engine` runs the same networks faster.

Letters in the shape comments of this folder:
    b  images or texts in a batch          d  width of the shared embedding space
    s  side of the square input, in pixels w  width of a tower
    p  patches (ViT) or positions (ResNet) t  tokens of a text
    h  attention heads                     c  channels
"""
