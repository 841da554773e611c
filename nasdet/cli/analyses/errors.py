"""`nasdet analyze BUNDLE --what errors`."""

from __future__ import annotations

from typing import Any

from nasdet.cli.analyses import Request

TABLES = ("types", "confidence", "classes", "sizes", "confusions", "labels_to_check", "worst")


def run(request: Request) -> dict[str, Any]:
    """Predict the split, and write errors.json, one CSV per table, errors.png and the sheets of the worst images."""
    from nasdet.analysis.error_advice import advise
    from nasdet.analysis.plots.detection_errors import errors_png
    from nasdet.analysis.tide import error_report
    from nasdet.analysis.worst_images import draw_worst, worst_images
    from nasdet.cli.analyses.bundles import begin, finish, open_target
    from nasdet.driver.inference.evaluate import predict_bundle
    from nasdet.export.bundle import writing

    target = open_target(request, "errors")
    truth = target.dataset.coco(request.split)
    found = predict_bundle(target.bundle, target.dataset, request.split)
    report, outcomes = error_report(truth, found)
    score = report["working_score"]
    report["worst"] = worst_images(target.dataset, request.split, found, outcomes, score)
    report["advice"] = advise(report, outcomes, found, target.bundle.spec, truth["images"])
    title = f"{target.bundle.path.name} on {target.dataset.info.name}, {request.split}: AP50 {100 * report['ap50']:.1f}"
    with writing(target.out):
        begin(target)
        errors_png(report, title, target.out / "errors.png")
        sheets = draw_worst(target.dataset, request.split, report["worst"], found, outcomes, score, target.out)
    tables = {f"{name.replace('labels_to_check', 'labels')}.csv": report[name] for name in TABLES}
    return finish(report, target, tables, ["errors.png", *(sheet.name for sheet in sheets)])


def lines_of(result: dict[str, Any]) -> list[str]:
    """The types with their costs, the advice, and where the files are."""
    lines = [
        f"{result['bundle']} on {result['split']} of {result['data']}: AP {100 * result['ap']:.1f}, "
        f"AP50 {100 * result['ap50']:.1f} ({result['objects']} objects in {result['images']} images)",
        "",
        f"{'type':<16}{'AP50 points':>12}{'boxes':>8}   (at score {result['working_score']:.2f} and above, best F1)",
    ]
    lines += [
        f"{row['type']:<16}{100 * row['ap50_cost']:>12.1f}{row['count_at_working_score']:>8}" for row in result["types"]
    ]
    return [*lines, "", *result["advice"], "", f"{', '.join(result['files'])} -> {result['out']}"]
