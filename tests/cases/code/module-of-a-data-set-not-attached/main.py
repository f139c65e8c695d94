import sys

sys.path.append("../input/face-helpers")
import face_helper_module

print(face_helper_module)
