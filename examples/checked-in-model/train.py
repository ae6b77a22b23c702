"""Makes model.pkl. Run it with the endpoint's own versions, then commit the file:

    pip install -r iris/requirements.txt
    python train.py
"""

import joblib
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

data = load_iris()
species = data.target_names[data.target]

model = LogisticRegression(max_iter=1000)
print(f"accuracy, 5-fold: {cross_val_score(model, data.data, species, cv=5).mean():.3f}")

model.fit(data.data, species)
joblib.dump(model, "model.pkl")
