"""Every word that a page uses as a heading of a table, in a fact or in a badge, with its meaning."""

from __future__ import annotations

TERMS = {
    # What is explained
    "input": "One image, text, row or signal that the network was run on, by the name of its file or its row.",
    "class": "One output of the network that it can predict.",
    "target": "What is explained: the network's output for one class, or another response.",
    "label": "The class that the data name for an input.",
    "predicted": "The class with the largest output, or how many inputs the network calls so.",
    "inputs": "How many inputs, and what share of those predicted as the class.",
    "accuracy": "Share of all inputs whose predicted class is their label, with its 95% interval.",
    "recall": "Share of the inputs labelled as the class that are predicted as it.",
    "classes audited": "Classes whose mechanisms were found; the others are listed with the reason.",
    "share of the label": "Share of the inputs with this label that are predicted as the other class.",
    # Mechanisms
    "mechanism": "A cluster of the inputs with one prediction that the network decides in a similar way; 0 is the"
    " largest.",
    "share": "Share of the inputs analysed that are in the mechanism.",
    "precision": "Share of the predictions that are right: of a mechanism on inputs that its clusters were not found"
    " on, with Wilson's 95% interval.",
    "labelled as the target": "Share of the inputs whose label is the target, where they are not only its predictions.",
    "own confidence": "The probability (softmax) that the network itself gives the class, as it is: not calibrated. Of"
    " several inputs the mean.",
    "confidence says": "The precision of inputs of the class with the same own confidence, calibrated on other inputs.",
    "other classes": "The precision of predictions of other classes at the same own confidence.",
    "rest of the class": "Precision of all other mechanisms of the class together.",
    "verdict": "What tests say, corrected for their number: against the rest of the class, and against the confidence.",
    "less reliable": "Less precise than the rest of its class (Fisher's exact test at 5%, corrected).",
    "more reliable": "More precise than the rest of its class (Fisher's exact test at 5%, corrected).",
    "no clear difference": "The test finds no difference from the rest of the class.",
    "overconfident": "Less precise than its confidence says, within the class or in other classes. The alarm.",
    "unsure": "Less precise than the rest, and the confidence says so: a threshold on it finds these mistakes.",
    "underconfident": "More precise than the confidence says.",
    "as confident as right": "No difference from what the confidence says, on inputs enough to see one of 10 points.",
    "too few to tell": "No difference from what the confidence says was found, but too few inputs of equal confidence"
    " are there to see one of 10 points.",
    "nothing to compare": "No other input of the class is as confident, as where the class has one mechanism; compared"
    " with other classes there is no alarm.",
    "no probability": "The outputs are no probabilities, so there is no confidence to compare with.",
    "fewer": "Fewer of its inputs are labelled as the target than of the others (Fisher's exact test at 5%,"
    " corrected).",
    "more": "More of its inputs are labelled as the target than of the others (Fisher's exact test at 5%, corrected).",
    "too few to say": "So few inputs that neither precision nor neurons of the mechanism can be trusted.",
    "extra mistakes": "Mistakes beyond those that the confidence says: inputs judged times the precision that is"
    " lacking.",
    "judged on": "Precision is judged on inputs that the clusters were not found on: clusters of one half of the"
    " inputs judge the other half, both ways. Beside it: how many of these inputs are in the mechanism when all"
    " are clustered together. Where that is low, the precision is that of a similar group.",
    "found again": "Clusters of random halves of the inputs, compared with this one: mean Jaccard index of the most"
    " similar (1: the same inputs). Stable from .75 on, doubtful below, dissolved up to .5. A single mechanism has"
    " none.",
    "agreement of halves": "Two clusterings, each found on one half of the inputs, compared on all of them (adjusted"
    " Rand index; 1: the same clusters, 0: chance). It judges a number of mechanisms as a whole; from 0.6 on it is"
    " called stable.",
    "silhouette": "How much closer inputs are to their own cluster than to the next; higher is better.",
    "BIC": "Bayesian information criterion of a Gaussian mixture with so many parts; lower is better.",
    "typical": "Closest to the centre of the mechanism.",
    "borderline": "In the mechanism, but closest to another one; none of the typical ones.",
    "misclassified": "The label is another class than the predicted one; framed in red.",
    "typicality": "Share of a mechanism's inputs at least as far from its centre: 1 most typical, near 0 an outlier.",
    "mechanisms": "How many there are; a class has one where neither structure nor reliability speaks for more.",
    "labels": "Shares of the labels among the inputs of a mechanism.",
    "set apart by": "The neurons in which the mechanism differs most from the rest of the class, by layer. They need"
    " not be critical.",
    "standardized mean difference": "Difference of two means in standard deviations of the inputs analysed.",
    "principal component (PC)": "A weighted sum of all neurons of a layer, along which the inputs differ much; the"
    " numbers in brackets are the neurons with the largest weights. It is not a critical neuron.",
    "representative neuron": "A neuron, or the mean of several that cannot be told apart, by which inputs are"
    " clustered.",
    # Critical neurons
    "neuron": "One number per input that a layer computes: the mean of a channel, or an element of a vector.",
    "critical neuron": "A neuron that carries information about the target that the others of its layer do not.",
    "critical": "Selected as critical neurons, or groups of them, at the precision asked for.",
    "selected": "Selected as critical: neurons, or groups of them, at the precision asked for.",
    "not selected": "A neuron that the layer's selection leaves out, at the precision asked for. It is shown because"
    " it sets a mechanism apart.",
    "group": "Neurons of a layer that are too strongly correlated to tell which of them is critical; selected"
    " together.",
    "null": "Not critical.",
    "knockoff": "A random stand-in for a neuron: same relation to the other neurons, no relation to the target.",
    "W": "How much better a neuron predicts the response than its knockoff; near zero for neurons that do not matter.",
    "precision of a selection": "Expected share of the selected neurons that are critical.",
    "calibration": "Measuring, on responses with known critical neurons, which evidence a required precision needs.",
    "simulated responses": "Random functions of some of a layer's neurons, by family, made to see whether those are"
    " found.",
    "required": "The precision of a selection that was asked for.",
    "realised": "Share of the selected neurons that are critical, on simulated responses, with its 95% interval.",
    "power": "Share of the critical neurons that are selected, on simulated responses.",
    "unseen family": "The same for a model that was trained on no response of the family.",
    "equation (9)": "The precision realised by the knockoffs' own threshold, without calibration.",
    "importance": "Root mean square slope of fits of the response with respect to a neuron.",
    "neurons": "Which neurons are kept: the selected, the first of the ranking, random ones, or all that vary.",
    "number": "How many neurons, or responses.",
    "R²": "Share of the response's variance that is predicted from these neurons on held-out inputs, by a linear or a"
    " nonlinear fit.",
    "agreement": "Share of predictions that stay when all other neurons of the layer are set to their mean (mean"
    " ablation), or to their values for another input (resample ablation).",
    # Pathways
    "pathway": "The neurons that contribute most to the response of one input, in all layers.",
    "site": "One call of an activation function in the network.",
    "neurons kept": "Share of a site's neurons that are in a pathway.",
    "overlap": "Jaccard index of the neurons of two pathways: 1 the same, 0 none in common.",
    # Two networks
    "match": "The mechanism of the other network that shares more inputs than chance, one to one; in brackets the"
    " nearest.",
    "Jaccard index": "Inputs that two mechanisms share, over those in either: 1 the same, 0 none in common.",
    "corrected p": "Probability of at least this overlap between unrelated mechanisms, corrected for the number of"
    " pairs (Holm).",
    "in the nearest": "Share of the mechanism's inputs that are in the nearest mechanism of the other network.",
    "adjusted mutual information": "How much one clustering of the inputs tells about the other, corrected for chance:"
    " 1 if they are equal, 0 in expectation if they are unrelated.",
    "common inputs": "Inputs that both networks predict as the class.",
    "equal predictions": "Share of all inputs that both networks predict as the same class.",
    "churn": "Share of the common inputs outside of matched mechanisms.",
    "matched": "Has a match in the other network.",
    "overlaps": "Shares more inputs than chance with mechanisms of the other network, but is the match of none.",
    "alone": "Shares inputs with no mechanism of the other network more than chance.",
    # New inputs
    "new inputs": "Inputs that came after those of the run, against which they are compared.",
    "share then": "Of a mechanism: its share of the inputs of the run predicted as its class. Of a class: its share of"
    " all inputs of the run.",
    "share now": "The same share among the new inputs.",
    "inputs now": "How many new inputs are in the mechanism.",
    "p": "Probability of a change as large between samples of the same inputs: Fisher's exact test of a share, that of"
    " Kolmogorov and Smirnov of confidence; corrected over the rows of the table (Holm).",
    "change": "Whether the share has become larger or smaller, where its p is below 0.05.",
    "precision then": "Share of a mechanism's inputs whose label was the class, in the run.",
    "verdict then": "How that precision compared with the network's own confidence.",
    "confidence then and now": "The mean probability that the network gives its prediction: not calibrated.",
    "expected precision": "What the precisions of the mechanisms, as they were, give at their shares now. It sees that"
    " a weak mechanism is used more often, and not that a mechanism itself has become weaker.",
    "unlike inputs": "Inputs whose conformal p-value is 0.05 or less: they lie farther from all recorded inputs than"
    " 95% of inputs of the same kind would.",
    "changed mechanisms": "Mechanisms whose share has changed.",
    "accuracy now": "Share of the new inputs whose predicted class is their label.",
    # The page
    "setting": "What was chosen, or the default, of the call.",
    "value": "Of the setting.",
    "why it was not audited": "The reason that the audit gives; the other classes are not affected.",
}


def entries(words: list[str]) -> dict[str, str]:
    """Give the meanings of some words, in the order of the glossary.

    >>> list(entries(["verdict", "precision"]))
    ['precision', 'verdict']
    """
    return {word: TERMS[word] for word in TERMS if word in words}
