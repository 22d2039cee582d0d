"""Figures that others have published for the same streams, with where they stand. Accuracy is in percent.

River's pages (online-ml/river, docs/benchmarks) give River 0.21's models behind a StandardScaler, trees too; its
classifying linear models step by SGD(0.005), its Elec2 has the date and the weekday too. CapyMOA's are from its
documentation (notebooks/00_getting_started), with its defaults and ten trees; it runs MOA's own learners (the
repository's benchmarks/results have both, equal in accuracy).
Nothing published was found for the generators with these seeds, nor for the flights.
"""

RIVER = "River 0.21, docs/benchmarks"
CAPYMOA = "CapyMOA, notebook 00"

# stream → (who, which model, metric, value)
PUBLISHED: dict[str, list[tuple[str, str, str, float]]] = {
    "phishing": [
        (RIVER, "Logistic regression", "accuracy", 88.72),
        (RIVER, "Hoeffding Tree", "accuracy", 87.9904),
        (RIVER, "Hoeffding Adaptive Tree", "accuracy", 87.4299),
        (RIVER, "Adaptive Random Forest", "accuracy", 90.7926),
        (RIVER, "Vowpal Wabbit logistic regression", "accuracy", 77.36),
    ],
    "bananas": [
        (RIVER, "Logistic regression", "accuracy", 54.3208),
        (RIVER, "Hoeffding Tree", "accuracy", 64.2197),
        (RIVER, "Hoeffding Adaptive Tree", "accuracy", 61.6531),
        (RIVER, "Adaptive Random Forest", "accuracy", 88.696),
        (RIVER, "Vowpal Wabbit logistic regression", "accuracy", 55.1321),
    ],
    "electricity": [
        (RIVER, "Logistic regression", "accuracy", 82.2144),
        (RIVER, "Hoeffding Tree", "accuracy", 79.5635),
        (RIVER, "Hoeffding Adaptive Tree", "accuracy", 82.1258),
        (RIVER, "Adaptive Random Forest", "accuracy", 87.6608),
        (RIVER, "Vowpal Wabbit logistic regression", "accuracy", 69.7475),
        (CAPYMOA, "HoeffdingTree", "accuracy", 81.6605),
        (CAPYMOA, "HoeffdingAdaptiveTree", "accuracy", 84.6862),
        (CAPYMOA, "AdaptiveRandomForestClassifier", "accuracy", 89.3295),
    ],
    "image_segments": [
        (RIVER, "Hoeffding Tree", "accuracy", 77.6094),
        (RIVER, "Hoeffding Adaptive Tree", "accuracy", 77.4361),
        (RIVER, "Adaptive Random Forest", "accuracy", 81.8536),
    ],
    "chick_weights": [
        (RIVER, "Linear Regression", "MAE", 23.7587),
        (RIVER, "Hoeffding Tree", "MAE", 23.1619),
        (RIVER, "Adaptive Random Forest", "MAE", 26.1016),
        (RIVER, "Linear Regression", "RMSE", 37.0377),
        (RIVER, "Hoeffding Tree", "RMSE", 36.7336),
        (RIVER, "Adaptive Random Forest", "RMSE", 40.8094),
    ],
    "trump_approval": [
        (RIVER, "Linear Regression", "MAE", 1.31455),
        (RIVER, "Hoeffding Tree", "MAE", 0.956103),
        (RIVER, "Adaptive Random Forest", "MAE", 0.800378),
        (RIVER, "Linear Regression", "RMSE", 3.91198),
        (RIVER, "Hoeffding Tree", "RMSE", 2.24987),
        (RIVER, "Adaptive Random Forest", "RMSE", 2.11495),
    ],
}
